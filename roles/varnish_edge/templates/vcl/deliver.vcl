# ---- deliver: the answer, and Cache-Status (RFC 9211) on every one -------------------------------------

sub vcl_deliver {
    if (resp.http.Set-Cookie && req.http.X-Edge-Cookie && !req.http.X-Edge-As-Sent) {
        call edge_as_sent;
        return (restart);
    }
    if (!req.http.X-Edge-Outcome) {
        set req.http.X-Edge-Outcome = req.http.X-Edge-Forward;
        if (!obj.uncacheable) {
            set req.http.X-Edge-Outcome = req.http.X-Edge-Outcome + "; stored";
        }
    }
    if (!obj.uncacheable) {
        call edge_ttl;
    }
    call edge_cache_status;
    unset resp.http.Via;
    unset resp.http.X-Varnish;
    unset resp.http.X-Edge-Era;
}

# Rounded down: a copy served past its TTL never reads 0.
sub edge_ttl {
    if (obj.ttl < 0s) {
        set req.http.X-Edge-Outcome = req.http.X-Edge-Outcome + "; ttl=" + std.integer(duration=obj.ttl - 1s);
    } else {
        set req.http.X-Edge-Outcome = req.http.X-Edge-Outcome + "; ttl=" + std.integer(duration=obj.ttl);
    }
}

sub edge_cache_status {
    std.collect(resp.http.Cache-Status);
    if (resp.http.Cache-Status) {
        set resp.http.Cache-Status = resp.http.Cache-Status + ", " + req.http.X-Edge-Name
            + req.http.X-Edge-Outcome;
    } else {
        set resp.http.Cache-Status = req.http.X-Edge-Name + req.http.X-Edge-Outcome;
    }
}

sub vcl_synth {
    if (resp.status == 503 && req.http.X-Edge-Forward ~ "uri-miss|stale" && !req.http.X-Edge-Last-Resort) {
        set req.http.X-Edge-Last-Resort = "1";  # the fetch failed: once more, and any copy will do
        return (restart);
    }
    set req.http.X-Edge-Outcome = req.http.X-Edge-Forward;
    if (resp.status != 503) {
        set req.http.X-Edge-Outcome = "; detail=edge";
    } else if (req.http.X-Edge-Forward !~ "detail") {
        set req.http.X-Edge-Outcome = req.http.X-Edge-Forward + "; detail=origin-failed";
    }
    call edge_cache_status;
    unset resp.http.X-Varnish;
    unset resp.http.Server;
    set resp.http.Cache-Control = "no-store";
    set resp.http.Content-Type = "text/plain; charset=utf-8";
    if (resp.status == 503) {
        set resp.reason = "Service Unavailable";
        set resp.http.Retry-After = "5";
        # nginx answers this with the site's own page, and would take our Cache-Control besides its own.
        set resp.http.X-Accel-Redirect = "@unavailable";
        unset resp.http.Cache-Control;
        set resp.body = "The site cannot answer just now. Please try again in a moment." + {"
"};
        return (deliver);
    }
    if (resp.status == 405) {
        set resp.http.Allow = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";
        if (local.socket == "purge") {
            set resp.http.Allow = "PURGE";
        }
    }
    if (req.http.X-Edge-Purged) {
        set resp.http.X-Purged = req.http.X-Edge-Purged;
    }
    set resp.body = resp.reason + {"
"};
    return (deliver);
}
