# sh -s -- "HOST HOST..." [HOST...]: of the web hosts in the first argument, takes the others out of this balancer's pool
# and puts all that are left back in.
#
# The words of a server's line are its edge host's own; only the last one changes, and none of a host that is in no
# argument. Where nginx does not run there is nothing to do. Prints who is drained where that was not so before.
set -eu
systemctl --quiet is-active nginx && [ -e /etc/nginx/upstream.conf ] || exit 0
hosts=$1
shift
pool=/etc/nginx/upstream.conf
new=$(mktemp)
trap 'rm -f "$new"' EXIT
awk -v hosts=" $hosts " -v drained=" $* " '
    /^server .*; # / && index(hosts, " " $NF " ") {
        host = $NF
        sub(/( down)?; # [^ ]+$/, "")
        print $0 (index(drained, " " host " ") ? " down" : "") "; # " host
        next
    }
    { print }
' "$pool" >"$new"
cmp -s "$pool" "$new" && changed=no || changed=yes
if [ $changed = yes ]; then
    # In place by renaming: nginx never reads half of it.
    install -m 0644 "$new" "$pool.new"
    mv "$pool.new" "$pool"
fi
# Also where a run was killed before its reload.
if [ $changed = yes ] || unit-outdated nginx reloaded "$pool" >/dev/null; then
    master=$(cat /run/nginx.pid)
    before=$(cat "/proc/$master/task/$master/children")
    systemctl reload nginx
    # A reload returns before it has an effect: wait until the workers of before send nobody there any more.
    tries=200 # 10 s at most
    for worker in $before; do
        while [ -d "/proc/$worker" ] && ! grep -qs "shutting down" "/proc/$worker/cmdline"; do
            tries=$((tries - 1))
            if [ $tries -lt 0 ]; then
                echo "nginx has not acted on its reload: process $worker still takes requests." >&2
                exit 1
            fi
            sleep 0.05
        done
    done
    echo "drained: ${*:-none}"
fi
