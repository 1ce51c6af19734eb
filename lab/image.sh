#!/bin/sh
# Makes a bare Debian tree ($1, built by mmdebstrap) the base of lab hosts, with login user $2.
set -eu
root=$1
user=$2

# What belongs to one host or to the machine it runs on is written when the host is made.
rm -f "$root"/etc/ssh/ssh_host_* "$root/etc/apt/apt.conf.d/99mmdebstrap" "$root/etc/hostname" "$root/etc/resolv.conf"
printf '127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n' > "$root/etc/hosts"
echo LANG=C.UTF-8 > "$root/etc/locale.conf"
ln -sf ../locale.conf "$root/etc/default/locale"

chroot "$root" useradd --create-home --shell /bin/bash --password '*' "$user"
echo "$user ALL=(ALL:ALL) NOPASSWD: ALL" > "$root/etc/sudoers.d/90-lab"
chmod 440 "$root/etc/sudoers.d/90-lab"

# Downloaded packages stay, for the lab's package cache.
cat > "$root/etc/apt/apt.conf.d/90lab-keep" <<'APT'
APT::Keep-Downloaded-Packages "true";
Binary::apt::APT::Keep-Downloaded-Packages "true";
APT
install -d -m 0755 "$root/var/cache/hugproof"
install -d -m 0777 "$root/var/cache/hugproof/pip"

systemctl --quiet --root="$root" enable systemd-networkd.service systemd-networkd-wait-online@host0.service
systemctl --quiet --root="$root" disable systemd-networkd-wait-online.service
# Nothing is to be brought up to date on the first boot: no ldconfig, sysusers and so on.
touch "$root/etc/.updated" "$root/var/.updated"
# A new host would start with an apt run of its own, in the way of the first play.
systemctl --quiet --root="$root" disable apt-daily.timer apt-daily-upgrade.timer
