# sh -s -- SOCKET [HOST...]: takes these web hosts out of this balancer's pool, and all others back in.
#
# The words of a server's line are its edge host's own; only the last one changes. Where no balancer listens on SOCKET
# there is nothing to do. Prints the hosts that are drained where that was not so before.
set -eu
[ -S "$1" ] || exit 0
shift
pool=/etc/nginx/upstream.conf
new=$(mktemp)
trap 'rm -f "$new"' EXIT
awk -v drained=" $* " '
    /^server .*; # / {
        host = $NF
        sub(/( down)?; # [^ ]+$/, "")
        print $0 (index(drained, " " host " ") ? " down" : "") "; # " host
        next
    }
    { print }
' "$pool" >"$new"
if ! cmp -s "$pool" "$new"; then
    # In place by renaming: nginx never reads half of it.
    install -m 0644 "$new" "$pool.new"
    mv "$pool.new" "$pool"
    master=$(cat /run/nginx.pid)
    before=$(cat "/proc/$master/task/$master/children")
    systemctl reload nginx
    # A reload returns before it has an effect: wait until the workers of before send nobody there any more.
    tries=0
    for worker in $before; do
        while [ -d "/proc/$worker" ] && ! grep -q "shutting down" "/proc/$worker/cmdline" && [ $tries -lt 200 ]; do
            tries=$((tries + 1))
            sleep 0.05
        done
    done
    echo "drained: ${*:-none}"
fi
