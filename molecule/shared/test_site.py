"""The site as its visitors meet it: real requests through the edge, with verified TLS."""

from __future__ import annotations

import secrets
import socket
import ssl
from collections.abc import Callable
from http.client import HTTPConnection

import pytest
from testinfra.host import Host

from support.cluster import APPLICATION, DOMAIN, Account, Cluster
from support.wait import eventually
from support.web import Answer, Browser, stylesheet

TTL = 5


def unseen(path: str) -> str:
    """An address of the same page that no cache can know yet."""
    return f"{path}?unseen={secrets.token_hex(8)}"


@pytest.mark.parametrize("page", ["/", "/profile/1/"])
def test_a_page_is_made_once_and_then_a_hit(visitor: Browser, profiles: int, page: str) -> None:
    address = unseen(page)
    first, second = visitor.get(address), visitor.get(address)
    assert (first.status, second.status) == (200, 200)
    assert first.cache["fwd"] == "uri-miss"
    assert "stored" in first.cache
    assert not first.is_hit
    assert second.is_hit
    assert int(second.cache["ttl"]) <= TTL
    assert second.body == first.body
    assert "Set-Cookie" not in second.headers


@pytest.mark.parametrize("page", ["/", "/profile/1/"])
def test_the_plain_address_is_a_hit_on_the_second_request(visitor: Browser, profiles: int, page: str) -> None:
    assert visitor.get(page).status == 200
    assert visitor.get(page).is_hit


def test_the_home_page_shows_the_newest_people(visitor: Browser, profiles: int) -> None:
    assert visitor.get(unseen("/")).text.count('class="card-name"') == 20


def test_head_is_served_from_what_get_fetched(visitor: Browser) -> None:
    address = unseen("/")
    assert visitor.get(address).status == 200
    answer = visitor.request("HEAD", address)
    assert answer.is_hit
    assert answer.body == b""


def test_a_post_is_never_answered_from_the_cache(visitor: Browser) -> None:
    address = unseen("/")
    page = visitor.get(address)
    assert visitor.get(address).is_hit
    answer = visitor.post(address)
    assert not answer.is_hit
    assert answer.cache["fwd"] == "method"
    assert answer.status == 403  # Django's, for want of a token
    assert answer.body != page.body
    assert visitor.get(address).body == page.body


def test_cookies_of_analytics_do_not_split_the_cache(visitor: Browser) -> None:
    address = unseen("/")
    assert visitor.get(address, Cookie="_ga=GA1.2.1").status == 200
    assert visitor.get(address, Cookie="_ga=GA1.2.2; _fbp=x").is_hit


def test_parameters_of_trackers_do_not_split_the_cache(visitor: Browser) -> None:
    address = unseen("/")
    assert visitor.get(address).status == 200
    assert visitor.get(f"{address}&utm_source=news&gclid=1").is_hit


def test_a_session_page_is_private_and_never_a_hit(member: Browser) -> None:
    for _ in range(2):
        answer = member.get("/")
        assert answer.status == 200
        assert not answer.is_hit
        assert "stored" not in answer.cache
        assert answer.cache["fwd"] == "bypass"
        assert {"private", "no-store"} <= set(answer.headers["Cache-Control"].replace(" ", "").split(","))


def test_nobody_sees_a_members_page(
    member: Browser, new_visitor: Callable[[], Browser], account: Account, profiles: int
) -> None:
    address = unseen("/")
    name = account.name
    assert name in member.get(address).text
    stranger = new_visitor()
    for _ in range(2):
        assert name not in stranger.get(address).text
    assert name in member.get(address).text


def test_credentials_in_the_request_bypass_the_cache(visitor: Browser) -> None:
    address = unseen("/")
    assert visitor.get(address).status == 200
    assert visitor.get(address, Authorization="Basic YTpi").cache["fwd"] == "bypass"


@pytest.mark.parametrize("page", ["/login/", "/admin/login/", "/profile/new/"])
def test_pages_with_forms_are_never_stored(visitor: Browser, page: str) -> None:
    for _ in range(2):
        answer = visitor.get(page)
        assert answer.status in (200, 302)
        assert answer.cache["fwd"] == "bypass"
        assert "stored" not in answer.cache


def test_a_member_creates_a_profile_that_everybody_sees(member: Browser, new_visitor: Callable[[], Browser]) -> None:
    name = f"Zoë {secrets.token_hex(4)}"
    assert member.get("/profile/new/").status == 200
    fields = {"name": name, "job_title": "Tester", "company": "Example", "email": "zoe@example.org", "bio": "Hello."}
    fields |= {"address": "Here", "birthday": "1990-02-03", "website": "https://example.org/"}
    answer = member.post("/profile/new/", fields)
    assert answer.status == 302, answer.text
    page = answer.headers["Location"]
    said = member.get(page).text
    assert name in said
    assert "is in the directory now" in said
    assert name in new_visitor().get(page).text
    eventually(lambda: name in new_visitor().get("/").text, limit=TTL + 30)


def test_a_login_takes_the_right_password_alone(visitor: Browser, account: Account) -> None:
    assert visitor.get("/login/").status == 200
    refused = visitor.post("/login/", {"username": account.name, "password": "wrong"})
    assert refused.status == 200
    assert "sessionid" not in visitor.cookies


def test_a_static_file_is_cached_for_good(visitor: Browser) -> None:
    path = stylesheet(visitor.get("/"))
    first = visitor.get(path)
    assert first.status == 200
    assert first.headers["Content-Type"].startswith("text/css")
    assert {"immutable", "max-age=31536000"} <= set(first.headers["Cache-Control"].replace(" ", "").split(","))
    second = visitor.get(path)
    assert second.is_hit
    assert int(second.cache["ttl"]) > 86400


def test_pages_travel_compressed_and_are_stored_once(visitor: Browser, profiles: int) -> None:
    address = unseen("/")
    small = visitor.get(address, Accept_Encoding="gzip")
    assert small.headers["Content-Encoding"] == "gzip"
    assert "Accept-Encoding" in small.headers["Vary"]
    plain = visitor.get(address)
    assert "Content-Encoding" not in plain.headers
    assert len(small.body) < len(plain.body)


def test_a_browser_with_the_same_page_gets_304(visitor: Browser, profiles: int) -> None:
    address = unseen("/")
    tag = visitor.get(address).headers["ETag"]
    again = visitor.get(address, If_None_Match=tag)
    assert (again.status, again.body) == (304, b"")
    assert again.is_hit


@pytest.mark.parametrize("path", ["/", "/profile/1/?page=2"])
def test_http_is_redirected_to_https(cluster: Cluster, path: str) -> None:
    answer = Browser(cluster.edge, 80).get(path)
    assert answer.status == 301
    assert answer.headers["Location"] == f"https://{DOMAIN}{path}"


@pytest.mark.parametrize("name", ["evil.example.org", "localhost", f"www.{DOMAIN}"])
def test_unknown_hosts_get_421(cluster: Cluster, name: str) -> None:
    assert Browser(cluster.edge, 80, host=name).get("/").status == 421
    over_tls = Browser(cluster.edge, 443, cluster.authority).request("GET", "/", headers={"Host": name})
    assert over_tls.status == 421


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 200),
        ("GET", "/profile/1/", 200),
        ("GET", "/profile/999999999/", 404),
        ("GET", "/login/", 200),
        ("GET", "/profile/new/", 302),
        ("GET", "/-/ready/", 200),
        ("POST", "/", 403),
        ("DELETE", "/", 403),
        ("PURGE", "/", 405),
        ("TRACE", "/", 405),
    ],
)
def test_every_answer_says_what_the_cache_did(
    visitor: Browser, cluster: Cluster, profiles: int, method: str, path: str, status: int
) -> None:
    answer = visitor.request(method, path)
    assert answer.status == status
    assert answer.headers["Cache-Status"].split(";")[0].strip('"') in cluster.groups["edge"]


def test_answers_of_nginx_itself_carry_cache_status_too(cluster: Cluster, visitor: Browser) -> None:
    answers = {
        "redirect": Browser(cluster.edge, 80).get("/"),
        "unknown host": visitor.request("GET", "/", headers={"Host": "evil.example.org"}),
        "large body": visitor.request("POST", "/", headers={"Content-Length": str(1 << 30)}),
    }
    silent = [what for what, answer in answers.items() if "Cache-Status" not in answer.headers]
    assert silent == []
    assert {what: answer.status for what, answer in answers.items()} == {
        "redirect": 301,
        "unknown host": 421,
        "large body": 413,
    }


def test_a_clients_word_about_the_way_it_came_is_not_believed(visitor: Browser, cluster: Cluster) -> None:
    """Were it believed, Django would redirect a request "without TLS", or redirect to the other host."""
    assert visitor.get("/login/", X_Forwarded_Proto="http").status == 200
    answer = visitor.get("/profile/new/", X_Forwarded_Host="evil.example.org", X_Forwarded_Server="evil.example.org")
    assert "evil" not in answer.headers["Location"]
    assert "evil" not in visitor.get(unseen("/"), X_Forwarded_Host="evil.example.org").text


def test_the_application_sees_the_clients_own_address(visitor: Browser, cluster: Cluster, web: list[Host]) -> None:
    path = f"/not-there-{secrets.token_hex(8)}/"
    assert visitor.get(path, X_Forwarded_For="203.0.113.7").status == 404
    lines = eventually(lambda: [line for host in web for line in _logged(host, path)])
    assert [line for line in lines if "203.0.113.7" in line] == []
    assert all(_own_address(cluster.edge) in line for line in lines)


def _logged(host: Host, text: str) -> list[str]:
    found = host.run(f"journalctl --no-pager --quiet --unit={APPLICATION} --lines=200 | grep -F {text}")
    return str(found.stdout).splitlines()


def _own_address(towards: str) -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((towards, 9))
        return str(probe.getsockname()[0])


def test_the_server_does_not_tell_its_version(visitor: Browser) -> None:
    headers = visitor.get("/").headers
    assert headers["Server"] == "nginx"
    assert not {"Via", "X-Varnish", "X-Powered-By"} & set(headers)


def test_browsers_are_told_to_come_back_over_tls(visitor: Browser) -> None:
    assert visitor.get("/").headers["Strict-Transport-Security"].startswith("max-age=")


def test_cookies_are_for_tls_alone(visitor: Browser, account: Account) -> None:
    visitor.get("/login/")
    answer = visitor.post("/login/", {"username": account.name, "password": account.password})
    lines = answer.headers.get_all("Set-Cookie", [])
    assert {line.split("=")[0] for line in lines} >= {"sessionid"}
    assert all("Secure" in line for line in lines)
    assert all("HttpOnly" in line for line in lines if line.startswith("sessionid"))


@pytest.mark.parametrize(
    ("version", "spoken"),
    [(ssl.TLSVersion.TLSv1_1, False), (ssl.TLSVersion.TLSv1_2, True), (ssl.TLSVersion.TLSv1_3, True)],
)
def test_only_current_tls_is_spoken(cluster: Cluster, version: ssl.TLSVersion, spoken: bool) -> None:
    context = ssl.create_default_context(cafile=cluster.authority)
    context.minimum_version = context.maximum_version = version
    context.set_ciphers("DEFAULT:@SECLEVEL=0")  # else this side would refuse TLS 1.1 by itself
    with socket.create_connection((cluster.edge, 443), timeout=10) as raw:
        if spoken:
            with context.wrap_socket(raw, server_hostname=DOMAIN) as tls:
                assert tls.version() == version.name.replace("_", ".")
        else:
            with pytest.raises(ssl.SSLError, match=r"(?i)alert|version"):
                context.wrap_socket(raw, server_hostname=DOMAIN)


def test_a_broken_request_stops_at_the_edge(cluster: Cluster) -> None:
    """Two lengths, the start of every request smuggling."""
    connection = HTTPConnection(cluster.edge, 80, timeout=10)
    connection.putrequest("POST", "/")
    for name, value in (("Content-Length", "4"), ("Content-Length", "6"), ("Transfer-Encoding", "chunked")):
        connection.putheader(name, value)
    connection.endheaders(b"0\r\n\r\n")
    assert connection.getresponse().status == 400


def test_a_page_that_is_not_there_is_told_as_such(visitor: Browser) -> None:
    answer: Answer = visitor.get("/profile/999999999/")
    assert answer.status == 404
    assert "Traceback" not in answer.text
    assert "DEBUG" not in answer.text
