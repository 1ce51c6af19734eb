"""The database is a cluster: another member takes over, and nothing that was acknowledged is lost."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from loadtest.plays import run
from testinfra.host import Host

from support.cluster import APPLICATION, Cluster, manage
from support.database import Database
from support.wait import eventually
from support.web import Browser

MADE = "stat --format='%i %W' /var/lib/postgresql/*/main/PG_VERSION"
PORTS = ("sport", "dport")
SAID_OF_SILENCE = "journalctl --unit=hugproof-silent-leader --identifier=python3 --output=cat --since=%s"
REINSTALL = "DEBIAN_FRONTEND=noninteractive apt-get install --quiet --yes --reinstall %s"


@pytest.fixture(autouse=True)
def whole(database: Database) -> Iterator[None]:
    """Every test begins with all members, and leaves them so."""
    eventually(database.is_whole, limit=90)
    yield
    eventually(database.is_whole, limit=90)


def wrote(web: Host) -> str:
    """The application writes a row, and reads it."""
    key = secrets.token_hex(8)
    code = (
        "from django.contrib.sessions.models import Session; from django.utils.timezone import now;"
        f" Session.objects.create(session_key='{key}', session_data='', expire_date=now());"
        f" print(Session.objects.filter(session_key='{key}').count())"
    )
    return manage(web, "shell", "-v0", "-c", code).strip()


def test_what_is_acknowledged_is_on_two_hosts(database: Database) -> None:
    leader = database.leader()
    assert database.query(leader, "SHOW synchronous_commit") == "on"
    assert (
        database.query(
            leader, "SELECT string_agg(application_name, ' ') FROM pg_stat_replication WHERE sync_state = 'sync'"
        )
        == database.synchronous()
    )
    assert database.query(leader, "SHOW data_checksums") == "on"
    # And the leader keeps for every standby what it has not had yet.
    slots = "SELECT string_agg(slot_name, ' ' ORDER BY slot_name) FROM pg_replication_slots WHERE active"
    assert database.query(leader, slots).split() == sorted(set(database.names) - {leader})


def test_a_watchdog_is_for_patroni_to_open(database: Database, hosts: dict[str, Host]) -> None:
    """Hosts of the lab have none: a file stands in for it, on a standby, which does not open it."""
    host = hosts[database.synchronous()]
    host.check_output("touch /dev/watchdog")
    try:
        host.check_output("systemctl restart 'patroni@*'")
        assert host.file("/dev/watchdog").user == "postgres"
    finally:
        host.check_output("rm /dev/watchdog")


def test_a_run_for_one_member_changes_nothing(cluster: Cluster, database: Database) -> None:
    name = database.synchronous()
    assert run("site.yml", cluster.inventory, "--limit", name).succeeded().changed == {name: 0}


def test_a_switchover_lets_the_synchronous_standby_lead(
    cluster: Cluster, database: Database, web: list[Host], visitor: Browser
) -> None:
    before, standby = database.leader(), database.synchronous()
    run("playbooks/switchover.yml", cluster.inventory).succeeded()
    assert database.leader() == standby
    assert [wrote(host) for host in web] == ["1"] * len(web)
    assert visitor.get(f"/?unseen={secrets.token_hex(8)}").status == 200
    eventually(database.is_whole, limit=90)
    assert database.members()[before]["role"] != "leader"


def test_who_can_not_take_over_is_told(cluster: Cluster, database: Database) -> None:
    leader, standby = database.leader(), database.synchronous()
    [other] = set(database.names) - {leader, standby}
    for name, told in (
        (leader, f"{leader} can't take over: {leader} leads already."),
        ("db9", f"db9 can't take over: db9 is no database host; there are {', '.join(database.names)}."),
        (other, f"{other} can't take over: only {standby} has every acknowledged write now."),
    ):
        assert told in run("playbooks/switchover.yml", cluster.inventory, to=name).failed().words
    assert (
        f"{leader} leads: its data is the cluster's."
        in run("playbooks/reinit.yml", cluster.inventory, host=leader).failed().words
    )
    assert "one of db1, db2, db3" in run("playbooks/reinit.yml", cluster.inventory, host="front1").failed().words
    assert database.leader() == leader


def test_a_standby_is_set_up_anew(cluster: Cluster, database: Database, hosts: dict[str, Host]) -> None:
    name = database.synchronous()
    made = hosts[name].check_output(MADE)
    run("playbooks/reinit.yml", cluster.inventory, host=name).succeeded()
    assert hosts[name].check_output(MADE) != made


def test_packages_do_not_restart_the_database(database: Database, hosts: dict[str, Host]) -> None:
    """Patroni's own may restart Patroni, under which PostgreSQL goes on."""
    for name in (database.synchronous(), database.leader()):
        started = database.query(name, "SELECT pg_postmaster_start_time()")
        version = database.query(name, "SHOW server_version").split(".")[0]
        hosts[name].check_output(REINSTALL % f"postgresql-{version} postgresql-common patroni")
        assert database.query(name, "SELECT pg_postmaster_start_time()") == started
        assert hosts[name].check_output("systemctl --failed --no-legend") == ""
        eventually(database.is_whole, limit=60)


def test_nothing_is_done_to_a_cluster_in_maintenance(
    cluster: Cluster, database: Database, hosts: dict[str, Host]
) -> None:
    leader = database.leader()
    hosts[leader].check_output("patronictl pause --wait")
    try:
        for playbook in ("site.yml", "playbooks/switchover.yml", "playbooks/upgrade_os.yml"):
            done = run(playbook, cluster.inventory, *(["--limit", "db"] if playbook == "site.yml" else [])).failed()
            assert "The database cluster is in maintenance" in done.words
            assert set(done.changed.values()) == {0}
        assert database.leader() == leader
    finally:
        hosts[leader].check_output("patronictl resume --wait")


def test_with_one_away_no_other_host_is_restarted(cluster: Cluster, hosts: dict[str, Host]) -> None:
    """The majority is there, and would not be meanwhile."""
    lost = cluster.groups["dcs"][0]
    hosts[lost].check_output("systemctl stop etcd")
    try:
        refused = run("playbooks/upgrade_os.yml", cluster.inventory).failed()
        assert "Not every member of etcd answers" in refused.words
        assert f"{cluster.addresses[lost]}:2379 is unhealthy" in refused.words
        assert set(refused.changed.values()) == {0}
    finally:
        hosts[lost].check_output("systemctl --no-block start etcd")


def test_a_standby_that_runs_and_copies_nothing_is_told(
    cluster: Cluster, database: Database, hosts: dict[str, Host]
) -> None:
    """It answers all who ask, and reaches no other database."""
    [name] = set(database.names) - {database.leader(), database.synchronous()}
    chain = "add chain inet probe out { type filter hook output priority 0; }"
    rule = "add rule inet probe out tcp dport 5432 reject with tcp reset"
    for command in ("add table inet probe", chain, rule):
        hosts[name].check_output("nft %s", command)
    try:
        eventually(lambda: name not in database.copying(), limit=60)
        refused = run("playbooks/upgrade_os.yml", cluster.inventory).failed()
        assert f"nothing is copied by {name}." in refused.words
        assert set(refused.changed.values()) == {0}
        told = run("playbooks/switchover.yml", cluster.inventory, patroni_wait_timeout=20).failed()
        assert f"{name} runs, and does not copy what {database.leader()} writes" in told.words
    finally:
        hosts[name].check_output("nft delete table inet probe")


def test_without_a_majority_nobody_leads_and_cached_pages_go_on(
    cluster: Cluster, database: Database, hosts: dict[str, Host], new_visitor: Callable[[], Browser]
) -> None:
    visitor = new_visitor()
    assert visitor.get("/").status == 200
    lost = cluster.groups["dcs"][:2]
    for name in lost:
        hosts[name].check_output("systemctl stop etcd")
    try:
        eventually(lambda: not database.leader(), limit=60)
        assert "The database cluster has no leader" in run("playbooks/switchover.yml", cluster.inventory).failed().words
        eventually(lambda: visitor.get(f"/?unseen={secrets.token_hex(8)}").status >= 500, limit=30)
        # A copy that is too old for a hit is served once the origin has failed, and is one from then on.
        assert visitor.get("/").status == 200
        assert visitor.get("/").is_hit
    finally:
        for name in lost:
            hosts[name].check_output("systemctl --no-block start etcd")
    eventually(lambda: visitor.get(f"/?unseen={secrets.token_hex(8)}").status == 200, limit=90)
    assert hosts[cluster.groups["web"][0]].service(APPLICATION).is_running


def test_a_member_that_has_lost_its_disk_comes_back(
    cluster: Cluster, database: Database, hosts: dict[str, Host]
) -> None:
    """Of the cluster that decides as well: the others still count the member that was lost."""
    name, version = database.synchronous(), database.version()
    hosts[name].check_output(f"systemctl disable --now etcd patroni@{version}-main")
    data = f"/var/lib/postgresql/{version}/main"
    hosts[name].check_output(f"rm -r /var/lib/etcd/hugproof {data} /etc/patroni/{version}-main.yml")
    run("site.yml", cluster.inventory, "--limit", name).succeeded()
    assert database.members()[name]["timeline"] == database.members()[database.leader()]["timeline"]
    health = "ETCDCTL_API=3 etcdctl --endpoints=%s endpoint health"
    endpoints = ",".join(f"http://{cluster.addresses[member]}:2379" for member in cluster.groups["dcs"])
    assert hosts[name].check_output(health + " 2>&1", endpoints).count("is healthy") == len(cluster.groups["dcs"])


def test_etcd_is_led_by_another_host_than_the_database(
    cluster: Cluster, database: Database, hosts: dict[str, Host]
) -> None:
    """A lost host would take both leaders with it, and a new leader of etcd gives the old one of the database time."""
    leader = database.leader()
    members = ",".join(f"http://{cluster.addresses[name]}:2379" for name in cluster.groups["dcs"])

    def etcdctl(endpoints: str, *words: str) -> str:
        return str(hosts[leader].check_output(f"ETCDCTL_API=3 etcdctl --endpoints={endpoints} {' '.join(words)}"))

    def status() -> dict[str, Any]:
        [found] = json.loads(etcdctl("http://127.0.0.1:2379", "endpoint", "status", "--write-out=json"))
        return dict(found["Status"])

    own = status()["header"]["member_id"]
    hosts[leader].check_output("systemctl stop hugproof-etcd-aside.timer hugproof-etcd-aside.service")
    if status()["leader"] != own:
        etcdctl(members, "move-leader", f"{own:x}")
    eventually(lambda: status()["leader"] == own, limit=10)
    hosts[leader].check_output("systemctl start hugproof-etcd-aside.timer")
    eventually(lambda: status()["leader"] != own, limit=60)


def test_a_leader_leads_on_while_somebody_hears_it_or_it_says_that_it_is_there(
    cluster: Cluster, database: Database, hosts: dict[str, Host]
) -> None:
    leader, standby = database.leader(), database.synchronous()
    [third] = set(cluster.groups["db"]) - {leader, standby}
    since = hosts[standby].check_output("date '+%F %T'")

    def does_not_hear(name: str) -> None:
        rule = f"ip saddr {cluster.addresses[name]} tcp dport {{ 5432, 8008 }} ct state new drop"
        hosts[leader].check_output("nft add rule inet deaf input %s", rule)

    def says(text: str) -> bool:
        return f"{leader} is {text}" in hosts[standby].check_output(SAID_OF_SILENCE, since).splitlines()

    hosts[leader].check_output("nft add table inet deaf")
    hosts[leader].check_output("nft %s", "add chain inet deaf input { type filter hook input priority -10; }")
    try:
        does_not_hear(standby)
        eventually(lambda: says(f"not heard here, and leads on: {third} may hear it"), limit=60)
        does_not_hear(third)
        eventually(
            lambda: says("heard by nobody, and leads on: it says that it is there, or something has changed"), limit=60
        )
        assert database.leader() == leader
        # Now it says nothing, as a host that is lost.
        hosts[leader].check_output("systemctl stop hugproof-silent-leader")
        eventually(lambda: says("heard by nobody, and leads no more"), limit=60)
    finally:
        hosts[leader].check_output("nft delete table inet deaf; systemctl start hugproof-silent-leader")
    # Led by either of the two: it is alive.
    eventually(database.is_whole, limit=90)


def test_patroni_is_told_at_once_when_postgresql_ends(database: Database, hosts: dict[str, Host]) -> None:
    """Or a killed server would be away until Patroni looks again."""
    leader, version = hosts[database.leader()], database.version()
    number = f"cat /run/postgresql/{version}-main.pid"
    before, since = leader.check_output(number), leader.check_output("date '+%F %T'")
    leader.check_output(f"kill -9 {before}")
    eventually(lambda: leader.check_output(number) != before, limit=60)
    eventually(database.is_whole, limit=60)
    said = leader.check_output(
        f"journalctl --unit=hugproof-postgres-watch@{version}-main --identifier=python3 --output=cat --since=%s", since
    )
    # Patroni may end it once more itself, on the way back.
    assert set(said.splitlines()) == {"PostgreSQL has ended: Patroni is told"}


def test_a_cut_off_leader_takes_nothing_more_and_is_wound_back(
    cluster: Cluster, database: Database, hosts: dict[str, Host]
) -> None:
    """What it takes before it knows is acknowledged by itself alone, as nobody but a superuser may ask for."""
    leader, standby = database.leader(), database.synchronous()
    cut, made = hosts[leader], hosts[leader].check_output(MADE)
    insert = "SET synchronous_commit = 'local'; INSERT INTO alone VALUES (%d)"
    insert_as = "cd /; sudo -u postgres psql --no-psqlrc -tAc %s"
    database.query(leader, "DROP TABLE IF EXISTS alone")
    database.query(leader, "CREATE TABLE alone (number int)")
    since = cut.check_output("date '+%F %T'")
    others = ", ".join(cluster.addresses[name] for name in {*cluster.groups["dcs"], *database.names} - {leader})
    rules = [
        f"chain {chain} {{ type filter hook {chain} priority -10;"
        + "".join(f" ip {side} {{ {others} }} tcp {port} {{ 2379, 2380, 5432, 8008 }} drop;" for port in PORTS)
        + " };"
        for chain, side in (("input", "saddr"), ("output", "daddr"))
    ]
    try:
        # At once: it will not lead for long.
        cut.check_output(f"set -e; nft %s; {insert_as}", f"table inet alone {{ {' '.join(rules)} }}", insert % 1)
        eventually(lambda: database.leader() not in ("", leader), limit=90)
        eventually(lambda: "read-only transaction" in cut.run(insert_as, insert % 2).stderr, limit=60)
        database.query(database.leader(), "INSERT INTO alone VALUES (3)")
    finally:
        cut.check_output("nft add table inet alone; nft delete table inet alone")
    # Patroni would not hear it from an etcd that is cut off as well.
    assert "nobody leads: Patroni is told" in hosts[standby].check_output(SAID_OF_SILENCE, since).splitlines()
    eventually(database.is_whole, limit=90)
    assert database.query(leader, "SELECT string_agg(number::text, ' ') FROM alone") == "3"
    assert "running pg_rewind" in cut.check_output("journalctl --no-pager --unit='patroni@*' --since=%s", since)
    assert cut.check_output(MADE) == made
    database.query(database.leader(), "DROP TABLE alone")
