# ---- purge: PURGE on its own socket makes a page stale -------------------------------------------------
# The copy stays for a sick origin; keep = 0s is its mark (origin.vcl sets 1s), which vcl_hit looks for.

sub edge_purge {
    if (local.socket == "purge") {
        if (req.method != "PURGE") {
            return (synth(405));
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
        set req.http.X-Edge-Purged = purge.soft(0s, -1s, 0s);
        return (synth(200, "Purged"));
    }
}
