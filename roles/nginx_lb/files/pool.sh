# sh -s -- SECONDS HOSTS DRAINED LEAVING RETURNING, the last four names of web hosts in one word: of HOSTS, takes
# those in DRAINED out of this balancer's pool and puts the others back in, but for those that stay drained. Those in
# LEAVING do so from now on, until they are in RETURNING.
#
# Where that would leave nobody in the pool it changes nothing, and says so.
#
# The words of a server's line are its edge host's own; only what follows them changes, and nothing of a host that is
# not in HOSTS. Where nginx does not run there is nothing to do. Says `changed` where something was, and waits for it to
# have an effect. Then, for at most SECONDS, if they are not empty, for requests under way at hosts out of the pool: it
# says which are not answered by then.
set -eu
systemctl --quiet is-active nginx && [ -e /etc/nginx/upstream.conf ] || exit 0
pool=/etc/nginx/upstream.conf
new=$(mktemp)
trap 'rm -f "$new"' EXIT

poll_seconds=0.1 # between two looks at a condition that is waited for

# LIMIT CONDITION...: waits until the condition, a command, ends with 0; ends with 1 when LIMIT seconds are over.
within() {
    end=$(($(date +%s) + $1))
    shift
    until "$@"; do
        [ "$(date +%s)" -lt "$end" ] || return 1
        sleep "$poll_seconds"
    done
}

# Whether none of the processes takes requests any more.
have_left() {
    for worker; do
        [ -d "/proc/$worker" ] && ! grep -qs "shutting down" "/proc/$worker/cmdline" && return 1
    done
    return 0
}

# Whether no host out of the pool has a request of this balancer's; it may be gone from the inventory, or dead.
all_answered() {
    under_way=$(for server in $(sed -n 's/^server \([^ ]*\) .* down; # .*/\1/p' "$pool"); do
        ss --no-header --tcp --numeric state established state syn-sent dst "$server"
    done)
    [ -z "$under_way" ]
}

awk -v hosts=" $2 " -v drained=" $3 " -v leaving=" $4 " -v returning=" $5 " '
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
    [ -z "$3" ] || echo "Nobody else is in the pool: what is asked of $3 while it starts anew fails, or has an older copy."
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
    workers=$(cat "/proc/$master/task/$master/children")
    systemctl reload nginx
    echo changed
    within 10 have_left $workers || {
        echo "nginx has not acted on its reload: of its processes $workers some still take requests." >&2
        exit 1
    }
fi
# Whoever is still at work has reload-mercy's more when the service stops.
[ -z "$1" ] || within "$1" all_answered || printf 'Not waited for any longer:\n%s\n' "$under_way"
