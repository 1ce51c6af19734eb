# ---- request: what came in, and whether the cache may answer it ----------------------------------------

sub vcl_recv {
    if (req.restarts == 0) {
        call edge_forget_internal_headers;
        # varnishd has appended the address of its peer, which is nginx: hand on the one before, which is
        # what nginx saw; anything to the left of that the client made up.
        set req.http.X-Forwarded-For = regsub(req.http.X-Forwarded-For, "^(?:.*,)?\s*([^,]+),[^,]*$", "\1");
        unset req.http.Via;
    }
    call edge_name;

    if (req.url !~ "^/" && req.url != "*") {    # the built-in VCL of 7.1 does not look
        return (synth(400));
    }
    call edge_purge;
    if (req.url == "{{ site_edge_health_path }}") {
        return (synth(200, "serves"));          # asked of the edge itself, and whatever becomes of the origin
    }

    if (req.http.X-Edge-As-Sent) {
        return (pass);
    }
}   # no return: the built-in VCL goes on

sub edge_forget_internal_headers {
    unset req.http.X-Edge-Name;
    unset req.http.X-Edge-Forward;
    unset req.http.X-Edge-Outcome;
    unset req.http.X-Edge-Cookie;
    unset req.http.X-Edge-URL;
    unset req.http.X-Edge-As-Sent;
    unset req.http.X-Edge-Refresh;
    unset req.http.X-Edge-Last-Resort;
    unset req.http.X-Edge-Purged;
}

sub vcl_req_method {
    if (req.method == "PURGE" || req.method == "TRACE" || req.method == "CONNECT") {
        return (synth(405));
    }
    if (req.method !~ "^(GET|HEAD|POST|PUT|PATCH|DELETE|OPTIONS)$") {
        return (synth(501));                    # the built-in VCL would open a pipe to the origin
    }
    if (req.method != "GET" && req.method != "HEAD") {
        set req.http.X-Edge-Forward = "; fwd=method";
    }
}   # the built-in VCL passes all but GET and HEAD, with every cookie

sub vcl_req_authorization {
    if (req.http.Authorization) {
        set req.http.X-Edge-Forward = "; fwd=bypass; detail=authorization";
    }
}   # the built-in VCL passes it

sub vcl_req_cookie {
    call edge_bypass;
    set req.http.X-Edge-URL = req.url;
    call edge_keep_form_cookie;
    unset req.http.Cookie;                      # analytics and the like: equal requests must look equal
    call edge_clean_url;
    call edge_choose_grace;
}

# A page turned out to be this visitor's own after all, and he has a form token: ask again as he asked.
# Without his cookie Django would have made him a new token, and broken the forms in his other tabs.
sub edge_as_sent {
    set req.http.Cookie = req.http.X-Edge-Cookie;
    set req.url = req.http.X-Edge-URL;
    set req.http.X-Edge-As-Sent = "1";
    set req.http.X-Edge-Forward = "; fwd=bypass; detail=form";
}
