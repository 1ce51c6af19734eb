# ---- origin: what is asked of the balancer, and which of its answers are kept --------------------------

sub vcl_backend_fetch {
    call edge_no_refresh_if_just_failed;
    call edge_remember_era;
    unset bereq.http.X-Edge-Name;
    unset bereq.http.X-Edge-Forward;
    unset bereq.http.X-Edge-Outcome;
    unset bereq.http.X-Edge-Cookie;
    unset bereq.http.X-Edge-URL;
    unset bereq.http.X-Edge-As-Sent;
    unset bereq.http.X-Edge-Refresh;
    unset bereq.http.X-Edge-Last-Resort;
    unset bereq.http.X-Edge-Purged;
    # A connection kept open may be closing under a reload of nginx just as a POST goes out on it, and a POST
    # is not sent twice. A new one over a UNIX socket costs microseconds.
    set bereq.http.Connection = "close";
}

sub vcl_backend_response {
    if (!bereq.uncacheable) {
        if (beresp.status >= 500) {             # stored, or only remembered, it would evict the good copy
            call edge_remember_failure;
            return (abandon);
        }
        call edge_stamp_era;
        call edge_lifetime;
        if (beresp.http.Cache-Control ~ "(?i)(must|proxy)-revalidate") {
            set beresp.grace = 0s;              # the application refuses to be served stale
        }
        set beresp.keep = 1s;                   # until a purge takes it away
        set beresp.do_stream = false;           # an answer cut off half-way must not reach anyone
        call edge_too_large;
    }
}   # no return: the built-in VCL refuses Set-Cookie, private, no-store, no-cache and a TTL of 0

sub vcl_beresp_vary {
    if (beresp.http.Vary ~ "\*") {              # the built-in VCL misses "Cookie, *"
        call vcl_beresp_hitmiss;
    }
}

# An answer that is not to be shared: remembered for 120 s (built-in), so that nobody queues for it.
sub vcl_beresp_hitmiss {
    set beresp.grace = 0s;                      # and not for the grace of a page on top
    set beresp.keep = 0s;
    set beresp.do_stream = true;
}

# No answer, or half of one. Abandoned, it leaves the cache as it was and the request in vcl_synth.
sub vcl_backend_error {
    if (!bereq.uncacheable) {
        call edge_remember_failure;
    }
    return (abandon);
}
