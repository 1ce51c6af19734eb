# sh -s -- HOSTS DRAINED LEAVING RETURNING, each of them names of web hosts in one word: of HOSTS, takes those in
# DRAINED out of this balancer's pool and puts the others back in, but for those that stay drained. Those in LEAVING do
# so from now on, until they are in RETURNING.
#
# Where that would leave nobody in the pool it changes nothing.
#
# The words of a server's line are its edge host's own; only what follows them changes, and nothing of a host that is
# not in HOSTS. Where nginx does not run there is nothing to do. Where something was changed it prints the processes
# that may still send visitors as before: a reload returns before it has an effect.
set -eu
systemctl --quiet is-active nginx && [ -e /etc/nginx/upstream.conf ] || exit 0
pool=/etc/nginx/upstream.conf
new=$(mktemp)
trap 'rm -f "$new"' EXIT
awk -v hosts=" $1 " -v drained=" $2 " -v leaving=" $3 " -v returning=" $4 " '
    function among(names) { return index(names, " " host " ") > 0 }
    /^server .*; # / {
        host = $0
        sub(/^.*; # /, "", host)
        stays = sub(/ drained$/, "", host)
    }
    /^server .*; # / && among(hosts) {
        stays = among(leaving) || stays && !among(returning)
        sub(/( down)?; # .*$/, "")
        print $0 (stays || among(drained) ? " down" : "") "; # " host (stays ? " drained" : "")
        next
    }
    { print }
' "$pool" >"$new"
# Who is out of the pool answers better than nobody.
if grep --quiet '^server .*; # ' "$new" && ! grep '^server ' "$new" | grep --quiet --invert-match ' down; # '; then
    cp "$pool" "$new"
fi
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
