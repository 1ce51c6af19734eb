# ---- settings: everything that a variable of the role decides ------------------------------------------

backend balancer {
    .path = "{{ varnish_edge_backend }}";
    .first_byte_timeout = {{ varnish_edge_origin_timeout }};
    .between_bytes_timeout = {{ varnish_edge_origin_timeout }};
}

sub edge_name {
    set req.http.X-Edge-Name = {"{{ _varnish_edge_name }}"};
}

# How far past its TTL a page is still served while the origin answers.
sub edge_grace_healthy {
    set req.grace = {{ varnish_edge_grace_healthy }};
}

# How long a page lives when the application does not say, and how long its copy is kept for a sick origin.
sub edge_lifetime {
    if (beresp.ttl > 0s && !beresp.http.Expires
        && beresp.http.Cache-Control !~ "(?i)(s-maxage|max-age)\s*=") {
        set beresp.ttl = {{ varnish_edge_ttl }};
    }
    set beresp.grace = {{ varnish_edge_grace }};
}

# GET and HEAD requests that belong to one visitor, or to pages that are never cached, go through with every
# cookie and the URL as they came.
sub edge_bypass {
    if (req.url ~ "{{ _varnish_edge_never_cached }}") {
        set req.http.X-Edge-Forward = "; fwd=bypass; detail=never-cached";
        return (pass);
    }
    if (req.http.Cookie ~ "(?:^|;)\s*(?:{{ _varnish_edge_session_cookies }})=") {
        set req.http.X-Edge-Forward = "; fwd=bypass; detail=session";
        return (pass);
    }
}

# The cookie that a form's token is checked against: never thrown away for good (see edge_as_sent).
sub edge_keep_form_cookie {
    if (req.http.Cookie ~ "(?:^|;)\s*(?:{{ _varnish_edge_form_cookies }})=") {
        set req.http.X-Edge-Cookie = req.http.Cookie;
    }
}

# Parameters that only trackers read.
sub edge_drop_parameters {
    set req.url = regsuball(req.url, "(?<=[?&])(?:{{ _varnish_edge_ignored_parameters }})(?:=[^&]*)?(?:&|$)", "");
}

sub edge_too_large {
    if (std.integer(beresp.http.Content-Length, 0) > {{ varnish_edge_object_limit_mb | int * 1024 * 1024 }}) {
        call vcl_beresp_hitmiss;
    }
}
