"""PgBouncer before a database whose leader changes: new connections find it, and nobody is left with a standby."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from loadtest.plays import run
from testinfra.host import Host

from support.cluster import APPLICATION, Cluster
from support.database import Database
from support.traffic import Visitors
from support.wait import eventually

WRITE = """
import psycopg2
connection = psycopg2.connect("host={places} port=6432 target_session_attrs=read-write connect_timeout=2")
connection.cursor().execute("CREATE TABLE pooled AS SELECT 1; DROP TABLE pooled")
connection.commit()
"""


@pytest.fixture(scope="module")
def pooled(cluster: Cluster, comers: Visitors, hosts: dict[str, Host]) -> Iterator[None]:
    """The application's processes share connections; visitors notice neither the way there nor the way back."""
    try:
        with comers.meanwhile("cached"):
            run("site.yml", cluster.inventory, site_pgbouncer=True).succeeded()
        comers.visits[-1].assert_nobody_was_turned_away()
        assert set(run("site.yml", cluster.inventory, site_pgbouncer=True).succeeded().changed.values()) == {0}
        yield
    finally:
        with comers.meanwhile("cached"):
            run("site.yml", cluster.inventory).succeeded()
    comers.visits[-1].assert_nobody_was_turned_away()
    assert not [name for name in cluster.groups["db"] if hosts[name].package("pgbouncer").is_installed]


def writes(cluster: Cluster, host: Host) -> bool:
    """A new connection of a web host's, through PgBouncer, can be written to."""
    places = ",".join(cluster.addresses[name] for name in cluster.groups["db"])
    command = "timeout 20 hugproof-manage shell -v0 -c %s"
    return host.run(command, WRITE.format(places=places)).rc == 0


def serving(cluster: Cluster, hosts: dict[str, Host]) -> list[str]:
    """The database hosts on which PgBouncer runs."""
    return [name for name in cluster.groups["db"] if hosts[name].service("pgbouncer").is_running]


def test_the_application_goes_through_it(pooled: None, web: list[Host]) -> None:
    connections = "ss -Htn state established dport = :"
    assert [host.check_output(f"{connections}6432") != "" for host in web] == [True] * len(web)
    assert [host.check_output(f"{connections}5432") for host in web] == [""] * len(web)
    cursors = "from django.db import connection; print(connection.settings_dict['DISABLE_SERVER_SIDE_CURSORS'])"
    assert web[0].check_output("hugproof-manage shell -v0 -c %s", cursors) == "True"


def test_a_setting_that_pgbouncer_does_not_know_is_told_and_not_written(
    pooled: None, cluster: Cluster, hosts: dict[str, Host]
) -> None:
    settings = [hosts[name].file("/etc/pgbouncer/pgbouncer.ini") for name in cluster.groups["db"]]
    before = [file.sha256sum for file in settings]
    wrong = {"site_pgbouncer": True, "pgbouncer_settings": {"nonsense": 4}}
    assert "unknown parameter: pgbouncer/nonsense" in run("site.yml", cluster.inventory, **wrong).failed().words
    assert [file.sha256sum for file in settings] == before
    assert len(serving(cluster, hosts)) == 1


def test_new_connections_find_the_leader_whoever_that_is(
    pooled: None, cluster: Cluster, database: Database, hosts: dict[str, Host], web: list[Host]
) -> None:
    version = database.version()
    for change in (None, "restart", "switchover", "kill"):
        leader = database.leader()
        if change == "restart":
            command = f"patronictl --config-file /etc/patroni/{version}-main.yml restart --force %s %s"
            hosts[leader].check_output(command, APPLICATION, leader)
        elif change == "switchover":
            run("playbooks/switchover.yml", cluster.inventory).succeeded()
        elif change == "kill":
            hosts[leader].check_output(f"kill -9 $(cat /run/postgresql/{version}-main.pid)")
        eventually(lambda: writes(cluster, web[0]), limit=60)
        eventually(lambda: serving(cluster, hosts) == [database.leader()], limit=60)
        eventually(database.is_whole, limit=90)
