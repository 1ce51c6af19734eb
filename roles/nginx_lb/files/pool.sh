# sh -s -- "HOST HOST..." [HOST...]: of the web hosts in the first argument, takes the others out of this balancer's
# pool and puts all that are left back in.
#
# The words of a server's line are its edge host's own; only the last one changes, and none of a host that is in no
# argument. Where nginx does not run there is nothing to do. Where something was changed it prints the processes that
# may still send visitors as before: a reload returns before it has an effect.
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
    echo "$before"
fi
