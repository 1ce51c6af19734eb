vcl 4.1;
# The logic of the talk's own VCL (2014) in today's syntax: the negative control of the suite. Never deployed.

sub vcl_recv {
    if (req.url ~ "^/admin/" || req.http.Cookie ~ "sessionid=") {
        return (pass);
    }
    unset req.http.Cookie;
    return (hash);      # for every method
}

sub vcl_backend_response {
    if (!beresp.http.Already-Expired) {     # the suite's way of making a page that is past its TTL
        set beresp.ttl = 5s;    # whatever the answer is
    }
    set beresp.grace = 5m;
    return (deliver);
}
