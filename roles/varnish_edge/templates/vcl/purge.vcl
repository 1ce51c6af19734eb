# ---- purge: PURGE on its own socket makes a page stale, or all of them ---------------------------------
# The copy stays for a sick origin; keep = 0s is its mark (origin.vcl sets 1s), which vcl_hit looks for. `X-Purge: hard`
# throws it away, `X-Purge: everything` is for all pages.
# All pages are stale when a new era begins: each has the era in which it was asked for, and is purged when it is
# looked up in a later one. The era lives as long as the cache, through reloads, as what vsthrottle remembers does.

sub edge_purge {
    if (local.socket == "purge") {
        if (req.method != "PURGE") {
            return (synth(405));
        }
        if (req.http.X-Purge ~ "everything") {
            var.global_set("era", req.xid);
            if (req.http.X-Purge ~ "hard" && !std.ban("obj.status != 0")) {
                return (synth(500, std.ban_error()));
            }
            set req.http.X-Edge-Purged = "everything";
            return (synth(200, "Purged"));
        }
        if (!req.http.X-Forwarded-Proto) {
            set req.http.X-Forwarded-Proto = "https";
        }
        set req.http.Host = req.http.Host.lower();
        call edge_clean_url;
        set req.hash_ignore_busy = true;        # never wait for a fetch under way
        set req.hash_always_miss = true;        # so vcl_miss is the only way
        return (hash);
    }
}

sub edge_purge_page {
    if (req.method == "PURGE") {
        if (req.http.X-Purge ~ "hard") {
            set req.http.X-Edge-Purged = purge.hard();
        } else {
            call edge_make_stale;
        }
        return (synth(200, "Purged"));
    }
}

# Not 0s: a page whose TTL ends with this very request is neither fresh nor stale for Varnish, and so not there.
sub edge_make_stale {
    set req.http.X-Edge-Purged = purge.soft(1ms, -1s, 0s);
}

sub edge_remember_era {
    var.set("era", var.global_get("era"));      # before the fetch: what it brings back may be of the era before
}

sub edge_stamp_era {
    set beresp.http.X-Edge-Era = "0" + var.get("era");
}

sub edge_purge_page_of_earlier_era {
    if (obj.keep > 0s && obj.http.X-Edge-Era != "0" + var.global_get("era")) {
        call edge_make_stale;
    }
}
