# ---- URL: equal pages get equal keys -------------------------------------------------------------------

sub edge_clean_url {
    if (req.url ~ "\?") {
        call edge_drop_parameters;
        set req.url = regsub(req.url, "[?&]+$", "");
        # Sorting must not swap the values of a repeated parameter: ?t=b&t=a is a list to Django. A name can
        # be repeated in another spelling (%74=a), and a long query costs the check too much: left as they are.
        if (req.url ~ "\?[^&]*&" && req.url !~ "[?&][^=&]*[%+]" && req.url !~ "(?:&[^&]*){12}"
            && req.url !~ "[?&]([^=&]*)(?:=[^&]*)?&(?:[^&]*&)*\1(?:[=&]|$)") {
            set req.url = std.querysort(req.url);
        }
    }
}

sub vcl_hash {
    hash_data(req.http.X-Forwarded-Proto);
}   # the built-in VCL adds URL and host
