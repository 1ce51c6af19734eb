# ---- lookup: what the cache had ------------------------------------------------------------------------

# Which copies will do. The answer is needed before the lookup: a request that may not take an old copy queues
# behind whoever is fetching a new one, and with an origin that hangs that is a long time.
sub edge_choose_grace {
    call edge_recently_failed;
    if (req.http.X-Edge-Last-Resort) {
        set req.grace = 3650d;                  # whatever is left is better than an error
        set req.ttl = 3650d;
    } else if (req.http.X-Edge-Refresh) {
        set req.grace = 0s;
    } else {
        call edge_grace_healthy;
    }
}

sub vcl_hit {
    call edge_purge_page_of_earlier_era;
    if (obj.keep == 0s && !req.http.X-Edge-Refresh && !req.http.X-Edge-Last-Resort) {
        set req.http.X-Edge-Refresh = "1";      # purged: a fresh copy first, this one only if there is none
        # Rounded, its TTL may last some milliseconds more; from here on this request takes nothing of its age.
        set req.ttl = (obj.age - (now - req.time)) * 0.999;
        return (restart);
    }
    if (req.http.X-Edge-Forward) {              # asked for in this very request, and failed
        set req.http.X-Edge-Outcome = "; fwd=stale; detail=origin-failed";
    } else if (req.http.X-Edge-Last-Resort && obj.ttl < 0s) {
        set req.http.X-Edge-Outcome = "; hit; detail=origin-failed";
    } else if (obj.age < now - req.time) {      # it came while this request waited for it
        set req.http.X-Edge-Outcome = "; fwd=miss; collapsed";
    } else {
        set req.http.X-Edge-Outcome = "; hit";
    }
}

sub vcl_miss {
    call edge_purge_page;
    if (req.http.X-Edge-Last-Resort) {
        call edge_503_if_just_failed;           # and there is no copy
    } else if (!req.is_hitmiss) {
        call edge_recently_failed;
        if (req.http.X-Edge-Last-Resort) {      # it failed while this request queued for it
            return (restart);
        }
    }
    if (req.is_hitmiss && req.http.X-Edge-Cookie) {
        call edge_as_sent;
        return (pass);
    }
    if (req.http.X-Edge-Refresh) {
        set req.http.X-Edge-Forward = "; fwd=stale";
    } else {
        set req.http.X-Edge-Forward = "; fwd=uri-miss";
    }
}
