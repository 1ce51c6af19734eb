"""Edge, cache and web hosts, of which any may be lost: the shared address, purges, sessions, requests."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from loadtest.plays import run
from testinfra.host import Host

from support.cluster import APPLICATION, DOMAIN, Account, Cluster, requests
from support.lab import lab
from support.wait import eventually
from support.web import Browser, stylesheet

# Seconds for what takes two or three, on a machine with other work.
TAKEOVER = 15
BACK = 60
AWAY = 10  # what the playbook says of a host that was away


@pytest.fixture
def shared(cluster: Cluster) -> Browser:
    """A visitor who comes by the address that the edge hosts share."""
    [address] = cluster.shared
    return Browser(address, 443, cluster.authority)


@pytest.fixture
def holder(cluster: Cluster, hosts: dict[str, Host]) -> str:
    """The edge host that has the shared address, while all of them are well."""
    eventually(lambda: all(serves(cluster, name) for name in cluster.groups["edge"]), limit=BACK)
    wanted = ["BACKUP"] * (len(cluster.groups["edge"]) - 1) + ["MASTER"]
    eventually(lambda: sorted(state(hosts[name]) for name in cluster.groups["edge"]) == wanted, limit=BACK)
    [found] = holders(cluster, hosts, cluster.groups["edge"])
    return found


def state(host: Host) -> str:
    """What keepalived of a host was in last: BACKUP, MASTER or FAULT."""
    log = "journalctl --boot --no-pager --quiet --unit=keepalived --grep='Entering [A-Z]* STATE' --output=cat --lines=1"
    return str(host.run(log).stdout).partition("Entering ")[2].partition(" ")[0]


def holders(cluster: Cluster, hosts: dict[str, Host], names: list[str]) -> list[str]:
    """Who of some hosts has the shared address."""
    [address] = cluster.shared
    return [name for name in names if f" {address}/" in hosts[name].check_output("ip -oneline address")]


def serves(cluster: Cluster, name: str) -> bool:
    return Browser(cluster.addresses[name], 443, cluster.authority).get("/-/edge/").status == 200


def others(cluster: Cluster, name: str) -> list[str]:
    return [other for other in cluster.groups["edge"] if other != name]


def answers(visitor: Browser, page: str) -> str:
    """The edge host that answers a page with the page."""
    answer = visitor.get(page)
    assert answer.status == 200
    return str(answer.headers["Cache-Status"]).split(",")[-1].split(";")[0].strip()


@pytest.mark.parametrize("port", [80, 443])
def test_every_edge_host_tells_load_balancers_that_it_serves(cluster: Cluster, port: int) -> None:
    """By whatever name they ask: these have an address, or a name of their own."""
    for name in cluster.groups["edge"]:
        for asked in (DOMAIN, cluster.addresses[name], "elb.example.org"):
            authority = cluster.authority if port == 443 else None
            answer = Browser(cluster.addresses[name], port, authority).request("GET", "/-/edge/", None, {"Host": asked})
            assert (answer.status, answer.text) == (200, "serves\n")
            assert answer.headers["Cache-Status"] == f"{name}; detail=edge"
            assert answer.headers["Cache-Control"] == "no-store"


def test_the_address_is_on_one_edge_host_and_answers(
    cluster: Cluster, hosts: dict[str, Host], shared: Browser, holder: str, profiles: int
) -> None:
    assert answers(shared, "/") == holder
    for name in cluster.groups["edge"]:
        assert hosts[name].service("keepalived").is_enabled
    by_address = Browser(shared.address, 443, cluster.authority).request("GET", "/", None, {"Host": shared.address})
    assert by_address.status == 200


@pytest.mark.parametrize("broken", ["nginx", "varnish", "nginx hangs", "varnish hangs"])
def test_a_host_that_does_not_serve_gives_the_address_up_and_does_not_take_it_back(
    cluster: Cluster, hosts: dict[str, Host], shared: Browser, holder: str, profiles: int, broken: str
) -> None:
    unit, _, hangs = broken.partition(" ")
    before = masters(hosts, cluster)
    with out_of_order(unit, hosts[holder], hangs=bool(hangs)):
        eventually(lambda: holders(cluster, hosts, [holder]) == [], limit=TAKEOVER)
        heir = eventually(lambda: answers(shared, "/"), limit=TAKEOVER)
        assert heir in others(cluster, holder)
    eventually(lambda: state(hosts[holder]) == "BACKUP", limit=BACK)
    assert holders(cluster, hosts, cluster.groups["edge"]) == [heir]
    assert masters(hosts, cluster) == before | {heir: before[heir] + 1}


def masters(hosts: dict[str, Host], cluster: Cluster) -> dict[str, int]:
    """How often each edge host has taken the address."""
    counted = "journalctl --no-pager --quiet --unit=keepalived --output=cat | grep --count 'Entering MASTER STATE'"
    return {name: int(hosts[name].run(counted).stdout) for name in cluster.groups["edge"]}


@contextmanager
def out_of_order(unit: str, *hosts: Host, hangs: bool) -> Iterator[None]:
    """A unit does not run on some hosts, or its processes stand still; afterwards all is as before."""
    try:
        for host in hosts:
            host.check_output("systemctl kill --signal=STOP %s" if hangs else "systemctl stop %s", unit)
        yield
    finally:
        for host in hosts:
            host.check_output("systemctl kill --signal=CONT %s" if hangs else "systemctl start %s", unit)


def test_the_site_goes_on_when_the_host_with_the_address_loses_power(
    cluster: Cluster, hosts: dict[str, Host], shared: Browser, holder: str, account: Account, profiles: int
) -> None:
    """All that is on it is gone with it: an edge, and here a cache and a web host. Members are still known."""
    shared.log_in(account.name, account.password)
    visitor = Browser(shared.address, 443, cluster.authority)
    # Each edge has a copy of its own.
    for name in cluster.groups["edge"]:
        assert answers(Browser(cluster.addresses[name], 443, cluster.authority), "/") == name
    lab(cluster.inventory, "stop", "--hard", holder)
    try:
        began = time.monotonic()
        heir = eventually(lambda: answers(visitor, "/"), limit=TAKEOVER)
        print(f"{heir} answers {time.monotonic() - began:.1f} s after {holder} was off")
        assert heir in others(cluster, holder)
        if set(cluster.groups["web"]) != {holder}:
            eventually(lambda: is_member(shared), limit=TAKEOVER)
            worst = max(seconds_as_member(shared) for _ in range(20))
            print(f"the longest of a member's 20 requests took {worst:.2f} s")
    finally:
        lab(cluster.inventory, "start", holder)
    eventually(lambda: state(hosts[holder]) == "BACKUP", limit=BACK)
    assert holders(cluster, hosts, cluster.groups["edge"]) == [heir]
    assert answers(visitor, "/") == heir
    assert is_member(shared)


def is_member(visitor: Browser) -> bool:
    """Whether a page that only members have is theirs; others are sent to the login."""
    return visitor.get("/profile/new/").status == 200


def test_a_killed_keepalived_leaves_one_host_with_the_address(
    cluster: Cluster, hosts: dict[str, Host], shared: Browser, holder: str, profiles: int
) -> None:
    """Killed, it can't take the address away: the next start does."""
    hosts[holder].check_output("systemctl kill --kill-whom=all --signal=KILL keepalived")
    eventually(lambda: state(hosts[holder]) == "BACKUP", limit=BACK)
    [heir] = eventually(lambda: holders(cluster, hosts, cluster.groups["edge"]), limit=TAKEOVER)
    assert heir in others(cluster, holder)
    assert eventually(lambda: answers(shared, "/"), limit=TAKEOVER) == heir


def test_a_new_configuration_moves_nothing(cluster: Cluster, hosts: dict[str, Host], holder: str) -> None:
    before = masters(hosts, cluster)
    for name in cluster.groups["edge"]:
        hosts[name].check_output("systemctl reload keepalived")
    eventually(lambda: state(hosts[holder]) == "MASTER")
    assert holders(cluster, hosts, cluster.groups["edge"]) == [holder]
    assert masters(hosts, cluster) == before


def test_a_host_that_reaches_nobody_is_cut_off(hosts: dict[str, Host], cluster: Cluster) -> None:
    """By the check itself, with addresses that there are and that there are not; at keepalived's own priority."""
    name, *rest = cluster.groups["edge"]
    network = cluster.addresses[name].rpartition(".")[0]
    page = f"https://{cluster.addresses[name]}/-/edge/"
    check = f"nice --adjustment=-10 sudo -u keepalived_script hugproof-edge-healthy {page}"
    alive, refusing, absent = f"{cluster.addresses[rest[0]]}/443", "127.0.0.1/9", f"{network}.253/443,{network}.254/443"
    for witnesses, status in (
        ("", 0), (alive, 0), (refusing, 0), (f"{absent},{alive}", 0), (f"{absent} {alive}", 0), (absent, 1),
        (f"{absent} {absent}", 1),
    ):  # fmt: skip
        assert hosts[name].run(f"{check} {witnesses}").rc == status, witnesses
    assert hosts[name].run(check.replace("/-/edge/", "/-/no-such-page/")).rc == 1


def test_a_purge_reaches_every_edge_host(cluster: Cluster, profiles: int) -> None:
    address = cached_everywhere(cluster)
    run("playbooks/purge.yml", cluster.inventory, paths=[address]).succeeded()
    for name in cluster.groups["edge"]:
        assert of(cluster, name).get(address).cache["fwd"] == "stale"


def test_a_purge_names_the_edge_host_that_it_did_not_reach(cluster: Cluster, profiles: int, tmp_path: Path) -> None:
    """All others have done it; the one that was cut off does when it is run again."""
    *rest, lost = cluster.groups["edge"]
    address = cached_everywhere(cluster)
    unreachable = {"ansible_port": 1, "ansible_ssh_extra_args": "-o ConnectTimeout=1"}
    (tmp_path / "lost.json").write_text(json.dumps({"all": {"hosts": {lost: unreachable}}}))
    done = run("playbooks/purge.yml", cluster.inventory, "-i", str(tmp_path / "lost.json"), paths=[address]).failed()
    assert f"Not told: {lost}, which may go on with what was to be purged; told: {', '.join(rest)}." in done.words
    assert "Run the same again" in done.words
    for name in rest:
        assert of(cluster, name).get(address).cache["fwd"] == "stale"
    assert of(cluster, lost).get(address).is_hit
    run("playbooks/purge.yml", cluster.inventory, "--limit", f"localhost,{lost}", paths=[address]).succeeded()
    assert of(cluster, lost).get(address).cache["fwd"] == "stale"


def test_an_edge_host_that_was_cut_off_serves_nothing_that_was_purged_meanwhile(
    cluster: Cluster, hosts: dict[str, Host], profiles: int
) -> None:
    """Without a second run. Another page is there still, for when the origin is away."""
    *rest, lost = cluster.groups["edge"]
    purged, other = cached_everywhere(cluster), cached_everywhere(cluster)
    before = {name: absences(hosts[name]) for name in cluster.groups["edge"]}
    began = time.monotonic()
    lab(cluster.inventory, "cut", lost)
    try:
        done = run("playbooks/purge.yml", cluster.inventory, paths=[purged]).failed()
        assert f"Not told: {lost}, which may go on with what was to be purged" in done.words
        eventually(lambda: time.monotonic() - began > AWAY)
    finally:
        lab(cluster.inventory, "mend")
    eventually(lambda: absences(hosts[lost]) == before[lost] + 1, limit=BACK)
    for page in (purged, other):
        assert of(cluster, lost).get(page).cache["fwd"] == "stale"
        assert of(cluster, lost).get(page).is_hit
    for name in rest:
        assert absences(hosts[name]) == before[name]
        assert of(cluster, name).get(other).is_hit


def absences(host: Host) -> int:
    """How often all pages of an edge host became stale because it had been away."""
    told = "journalctl --boot --no-pager --quiet --output=cat --unit=hugproof-edge-away"
    return str(host.run(told).stdout).count("every page is stale")


def of(cluster: Cluster, name: str) -> Browser:
    return Browser(cluster.addresses[name], 443, cluster.authority)


def cached_everywhere(cluster: Cluster) -> str:
    """The path of a page of which every edge host has a copy that lasts."""
    address = f"{stylesheet(of(cluster, cluster.groups['edge'][0]).get('/'))}?unseen={secrets.token_hex(8)}"
    for name in cluster.groups["edge"]:
        assert of(cluster, name).get(address).status == 200
        assert of(cluster, name).get(address).is_hit
    return address


@pytest.mark.parametrize("hangs", [False, True], ids=["gone", "hanging"])
@pytest.mark.parametrize("lost", [1, None], ids=["one cache", "all caches"])
def test_lost_caches_log_nobody_out(
    cluster: Cluster, hosts: dict[str, Host], member: Browser, new_visitor: Callable[[], Browser], account: Account,
    lost: int | None, hangs: bool,
) -> None:  # fmt: skip
    """Misses, no errors: whoever was logged in stays it, and others may log in, and stay it when the cache goes on."""
    caches = [hosts[name] for name in cluster.groups["cache"][:lost]]
    newcomer = new_visitor()
    with out_of_order("memcached", *caches, hangs=hangs):
        worst = max(seconds_as_member(member) for _ in range(20))
        print(f"the longest of 20 requests took {worst:.2f} s")
        newcomer.log_in(account.name, account.password)
        assert is_member(newcomer)
    assert is_member(member)
    assert is_member(newcomer)


def seconds_as_member(visitor: Browser) -> float:
    began = time.monotonic()
    assert is_member(visitor)
    return time.monotonic() - began


def test_a_web_host_that_hangs_is_hardly_asked_and_serves_again_when_it_goes_on(
    cluster: Cluster, hosts: dict[str, Host], new_visitor: Callable[[], Browser], profiles: int
) -> None:
    """Its kernel takes connections still. One visitor waits there, and the others are sent to who is less busy."""
    hung, *rest = [hosts[name] for name in cluster.groups["web"]]
    visitor, waiting_one = new_visitor(), new_visitor()
    with out_of_order(APPLICATION, hung, hangs=True), ThreadPoolExecutor() as pool:
        stuck = [pool.submit(lambda: waiting_one.get("/login/").status) for _ in range(len(cluster.groups["web"]))]
        eventually(lambda: sum(future.done() for future in stuck) == len(rest))
        for _ in range(20):
            assert visitor.get("/login/").status == 200
        hung.check_output("systemctl kill --signal=CONT %s", APPLICATION)
        assert [future.result() for future in stuck] == [200] * len(stuck)
    before = requests(hung)
    eventually(lambda: visitor.get("/login/").status == 200 and requests(hung) > before)


def test_an_application_that_hangs_for_good_is_started_anew(
    cluster: Cluster, hosts: dict[str, Host], new_visitor: Callable[[], Browser], profiles: int
) -> None:
    host, visitor = hosts[cluster.groups["web"][0]], new_visitor()
    main = f"systemctl show --property=MainPID --value {APPLICATION}"
    hung, since = host.check_output(main), host.check_output("date '+%F %T'")
    with out_of_order(APPLICATION, host, hangs=True):
        eventually(lambda: host.check_output(main) not in (hung, "0"), limit=150)
    journal = f"journalctl --no-pager --unit={APPLICATION} --since=%s"
    assert "Watchdog timeout (limit 1min)!" in host.check_output(journal, since)
    eventually(lambda: visitor.get("/login/").status == 200 and requests(host) > 0)
