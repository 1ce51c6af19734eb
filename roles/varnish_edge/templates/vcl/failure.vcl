# ---- failure: what is remembered of a page whose fetch failed ------------------------------------------
# Nothing of it may go into the cache: whatever is stored there evicts the last good copy. So it is kept in
# vsthrottle, where a limit of 0 blocks a key for the time given from its first use on:
#   "now"   for 1 s: the page is not asked for again, one attempt a page a second is enough;
#   "sick"  for the rest of a slot of 100 s and the next: any copy will do, however old, and attempts are made
#           in the background. Longer than an origin that hangs takes to fail, so attempts keep it alive.

sub edge_remember_failure {
    set bereq.http.X-Edge-Failed = vsthrottle.is_denied("now " + bereq.http.Host + bereq.url, 0, 1s, 1s);
    set bereq.http.X-Edge-Failed = vsthrottle.is_denied("sick " + regsub(std.time2integer(now, 0), "..$", " ")
        + bereq.http.Host + bereq.url, 0, 1s, 200s);
}

sub edge_recently_failed {
    if (vsthrottle.blocked("sick " + regsub(std.time2integer(now, 0), "..$", " ")
            + req.http.Host + req.url, 0, 1s, 200s) > 0s
        || vsthrottle.blocked("sick " + regsub(std.time2integer(now - 100s, 0), "..$", " ")
            + req.http.Host + req.url, 0, 1s, 200s) > 0s) {
        set req.http.X-Edge-Last-Resort = "1";
    }
}

sub edge_503_if_just_failed {
    if (req.http.X-Edge-Forward || vsthrottle.blocked("now " + req.http.Host + req.url, 0, 1s, 1s) > 0s) {
        return (synth(503));
    }
}

sub edge_no_refresh_if_just_failed {
    if (bereq.is_bgfetch && vsthrottle.blocked("now " + bereq.http.Host + bereq.url, 0, 1s, 1s) > 0s) {
        return (abandon);
    }
}
