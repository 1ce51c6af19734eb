"""The site while its parts fail, and after they are back."""

from __future__ import annotations

import re
import secrets
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from testinfra.host import Host

from support.cluster import APPLICATION, DOMAIN, Cluster, requests
from support.wait import eventually
from support.web import Answer, Browser, stylesheet


@contextmanager
def stopped(unit: str, *hosts: Host) -> Iterator[None]:
    """A unit does not run on some hosts; afterwards it does again, whatever happened."""
    try:
        for host in hosts:
            host.check_output("systemctl stop %s", unit)
        yield
    finally:
        for host in hosts:
            host.check_output("systemctl start %s", unit)


@pytest.fixture(autouse=True)
def recovered(new_visitor: Callable[[], Browser]) -> Iterator[None]:
    """Each test leaves a site that answers from its application, not from old copies."""
    yield
    for page in ("/", "/login/"):
        eventually(lambda page=page: _is_fresh(new_visitor().get(page)), limit=60)


def _is_fresh(answer: Answer) -> bool:
    return answer.status == 200 and int(answer.cache.get("ttl", "0")) >= 0


def _database_unit(host: Host) -> str:
    cluster = host.check_output("pg_lsclusters --no-header").split()
    return f"postgresql@{cluster[0]}-{cluster[1]}"


@pytest.mark.parametrize(
    ("group", "unit"),
    [("web", APPLICATION), ("cache", "memcached"), ("edge", "nginx"), ("edge", "varnish"), ("db", "postgresql")],
)
def test_a_killed_service_is_back_by_itself(
    hosts: dict[str, Host], cluster: Cluster, new_visitor: Callable[[], Browser], group: str, unit: str
) -> None:
    for name in cluster.groups[group]:
        host = hosts[name]
        unit_name = _database_unit(host) if unit == "postgresql" else unit
        asked = f"systemctl show --property=MainPID --value {unit_name}"
        before = host.check_output(asked)
        assert before != "0"
        host.check_output(f"kill -9 {before}")
        eventually(lambda host=host, asked=asked, before=before: host.check_output(asked) not in ("0", before))
        eventually(lambda host=host, unit_name=unit_name: host.service(unit_name).is_running)
    address = f"/?unseen={secrets.token_hex(8)}"
    eventually(lambda: new_visitor().get(address).status == 200)


def test_a_killed_worker_is_replaced(web: list[Host], visitor: Browser) -> None:
    for host in web:
        master = host.check_output(f"systemctl show --property=MainPID --value {APPLICATION}")
        workers = host.check_output(f"pgrep --parent {master}").split()
        host.check_output(f"kill -9 {workers[0]}")
        eventually(lambda host=host, master=master, workers=workers: _replaced(host, master, workers))
        assert host.check_output(f"systemctl show --property=MainPID --value {APPLICATION}") == master


def _replaced(host: Host, master: str, workers: list[str]) -> bool:
    now = host.check_output(f"pgrep --parent {master}").split()
    return len(now) == len(workers) and workers[0] not in now


def test_a_member_is_served_while_a_web_host_is_down(web: list[Host], member: Browser) -> None:
    """Sessions are shared: whoever answers knows him. In turn, so that each host has served alone.

    Where there is no other he is told to come back, and is known when he does.
    """
    for host in web:
        with stopped(APPLICATION, host):
            for _ in range(2 * len(web)):
                if len(web) == 1:
                    refused = member.get("/profile/new/")
                    assert refused.status == 503
                    assert int(refused.headers["Retry-After"]) > 0
                else:
                    _create_a_profile(member)
        # nginx leaves a host that failed out for a while; only then is it this one's turn again.
        eventually(lambda host=host: _takes_part(host, member))
    _create_a_profile(member)


def _create_a_profile(member: Browser) -> None:
    assert member.get("/profile/new/").status == 200
    name = f"Max {secrets.token_hex(4)}"
    fields = {"name": name, "job_title": "Tester", "company": "Example", "email": "max@example.org", "bio": "Hello."}
    answer = member.post("/profile/new/", fields)
    assert answer.status == 302, answer.text
    assert name in member.get(answer.headers["Location"]).text


def _takes_part(host: Host, visitor: Browser) -> bool:
    """Whether a web host gets its share of requests."""
    before = requests(host)
    assert visitor.get("/profile/new/").status == 200
    return requests(host) > before


def test_pages_outlive_the_whole_application(
    web: list[Host], profiles: int, new_visitor: Callable[[], Browser]
) -> None:
    """The talk's lesson: all web servers are down, the home page and the hot profiles are served as before."""
    visitor = new_visitor()
    pages = ["/", "/profile/1/", stylesheet(visitor.get("/"))]
    copies = {page: visitor.get(page).body for page in pages}
    with stopped(APPLICATION, *web):
        for page in pages[:2]:
            eventually(lambda page=page: int(visitor.get(page).cache["ttl"]) < 0)
        for page in pages:
            answer = visitor.get(page)
            assert answer.status == 200
            assert answer.is_hit
            assert answer.body == copies[page]
        unknown = visitor.get(f"/?unseen={secrets.token_hex(8)}")
        posted = visitor.post("/login/", {"username": "a", "password": "b"})
        for refused in (unknown, posted):
            assert refused.status == 503
            assert int(refused.headers["Retry-After"]) > 0
            assert "no-store" in refused.headers["Cache-Control"]
            assert refused.headers.get_all("Cache-Status") == [refused.headers["Cache-Status"]]
            assert refused.headers["Content-Type"] == "text/html; charset=utf-8"
            assert "<h1>Back in a moment</h1>" in refused.text
    eventually(lambda: visitor.get(f"/?unseen={secrets.token_hex(8)}").status == 200)


def test_pages_outlive_the_database(
    hosts: dict[str, Host], cluster: Cluster, profiles: int, new_visitor: Callable[[], Browser]
) -> None:
    """Here the application answers, with errors: they never replace a good copy."""
    visitor, database = new_visitor(), hosts[cluster.groups["db"][0]]
    assert visitor.get("/profile/1/").status == 200
    with stopped(_database_unit(database), database):
        eventually(lambda: int(visitor.get("/profile/1/").cache["ttl"]) < 0)
        for _ in range(10):
            answer = visitor.get("/profile/1/")
            assert answer.status == 200
            assert answer.is_hit
        assert visitor.get(f"/?unseen={secrets.token_hex(8)}").status == 503


def test_a_member_stays_logged_in_without_memcached(hosts: dict[str, Host], cluster: Cluster, member: Browser) -> None:
    with stopped("memcached", *(hosts[name] for name in cluster.groups["cache"])):
        assert member.get("/profile/new/").status == 200
    assert member.get("/profile/new/").status == 200


def test_the_site_is_slow_but_there_without_varnish(hosts: dict[str, Host], cluster: Cluster, visitor: Browser) -> None:
    with stopped("varnish", *(hosts[name] for name in cluster.groups["edge"])):
        answer = eventually(lambda: visitor.get("/"))
        assert answer.status == 200
        assert not answer.is_hit
        assert "Cache-Status" in answer.headers


def test_a_restart_of_varnish_forgets_pages_but_not_visitors(
    hosts: dict[str, Host], cluster: Cluster, member: Browser
) -> None:
    for name in cluster.groups["edge"]:
        hosts[name].check_output("systemctl restart varnish")
    eventually(lambda: member.get("/profile/new/").status == 200)


QUEUE = 512  # site_queue


def test_a_busy_site_queues_then_tells_visitors_to_come_back_and_forgets_nobody(
    cluster: Cluster, hosts: dict[str, Host], web: list[Host], visitor: Browser
) -> None:
    """All workers are busy: requests wait until the queues are full, then there is 503 at once; no host is left out.

    Nor is Varnish, which was away just before: cached pages are.
    """
    edge = hosts[cluster.groups["edge"][0]]
    room = QUEUE // len(cluster.groups["edge"]) * len(web)
    with stopped("varnish", edge):
        for _ in range(20):  # each of nginx's processes has found out
            assert not visitor.get("/").is_hit
    left_out = _left_out(edge)
    # A fresh copy: no refresh of it takes a place.
    eventually(lambda: int(visitor.get("/").cache.get("ttl", "0")) > 1)
    with paused(APPLICATION, *web):
        crowd = _crowd(cluster, room + 50)
        try:
            eventually(lambda: _waiting(edge) == room)
            refused = visitor.get("/login/")
            assert refused.status == 503
            assert int(refused.headers["Retry-After"]) > 0
            for _ in range(20):
                assert visitor.get("/").is_hit
        except BaseException:
            crowd.kill()
            raise
    try:
        said, _ = crowd.communicate(timeout=120)
    finally:
        crowd.kill()
    found = re.search(r"status codes: (\d+) 2xx, (\d+) 3xx, (\d+) 4xx, (\d+) 5xx", said)
    assert found, said
    assert [int(count) for count in found.groups()] == [room, 0, 0, 50]
    assert _left_out(edge) == left_out


@contextmanager
def paused(unit: str, *hosts: Host) -> Iterator[None]:
    """A unit's processes stand still on some hosts; afterwards they go on."""
    try:
        for host in hosts:
            host.check_output("systemctl kill --signal=STOP %s", unit)
        yield
    finally:
        for host in hosts:
            host.check_output("systemctl kill --signal=CONT %s", unit)


def _crowd(cluster: Cluster, size: int) -> subprocess.Popen[str]:
    """So many visitors at once, each with one request for a page that is never cached."""
    command = ["prlimit", f"--nofile={size + 100}", "h2load", "--h1", f"--clients={size}", f"--requests={size}"]
    address = [f"--connect-to={cluster.edge}:443", f"https://{DOMAIN}/login/"]
    return subprocess.Popen(
        command + address, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def _waiting(edge: Host) -> int:
    """Requests that an edge host has at the web hosts."""
    return len(edge.check_output("ss --no-header --numeric --tcp state established dport = :3031").splitlines())


def _left_out(edge: Host) -> int:
    """How often the balancer took a web host for dead."""
    return int(edge.run("grep -c 'temporarily disabled' /var/log/nginx/error.log").stdout)
