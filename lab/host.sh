#!/bin/bash
# Supervises one lab host: boots it, boots it again when it reboots, and ends when it powers off.
# Runs in a mount namespace and in a cgroup of its own; lab/hosts.py starts it.
#   host.sh MACHINE HOSTNAME BRIDGE IMAGE DISK CGROUP
set -euo pipefail

# CGROUP SECONDS: the kernel tells when the last process of a control group has ended.
WAIT_UNTIL_EMPTY='
import select, sys, time
cgroup, limit = sys.argv[1], time.monotonic() + float(sys.argv[2])
with open(f"{cgroup}/cgroup.events") as events:
    told = select.poll()
    told.register(events, select.POLLPRI)
    while "populated 1" in events.read():
        left = limit - time.monotonic()
        if left <= 0:
            sys.exit(f"Processes in {cgroup} outlive a kill.")
        told.poll(left * 1000)
        events.seek(0)
'

# A function, so that bash has read all of this file before the host boots.
main() {
  local machine=$1 hostname=$2 bridge=$3 image=$4 disk=$5 status
  local cgroup=/sys/fs/cgroup/$6

  # systemd in the host wants version 2 of cgroups, whatever the outer machine has. Seen in here only.
  if [[ $(stat -f -c %T /sys/fs/cgroup) != cgroup2fs ]]; then
    umount -l /sys/fs/cgroup
    mount -t cgroup2 none /sys/fs/cgroup
  fi
  mount -t overlay "lab-$machine" -o "lowerdir=$image,upperdir=$disk/upper,workdir=$disk/work" "$disk/root"

  while true; do
    clear_cgroup "$cgroup/machine"
    mkdir "$cgroup/machine"
    status=0
    boot || status=$?
    # 133: the host asks for a reboot. Anything else ends it, and nothing of it may go on.
    if [[ $status != 133 ]]; then
      clear_cgroup "$cgroup/machine"
      exit "$status"
    fi
  done
}

boot() (
  echo "$BASHPID" > "$cgroup/machine/cgroup.procs"
  exec systemd-nspawn --quiet --register=no --keep-unit --settings=no --machine="$machine" --hostname="$hostname" \
    --directory="$disk/root" --boot --link-journal=no --resolv-conf=off --timezone=off --console=pipe \
    --network-bridge="$bridge" --capability=CAP_NET_ADMIN,CAP_NET_RAW
)

# A SIGKILL to systemd-nspawn leaves the host running: only its cgroup gets hold of all of it.
clear_cgroup() {
  [[ -d $1 ]] || return 0
  echo 1 > "$1/cgroup.kill"
  python3 -c "$WAIT_UNTIL_EMPTY" "$1" 20
  find "$1" -depth -type d -exec rmdir {} \;
}

main "$@"
