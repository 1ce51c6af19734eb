"""What is told of an upgrade to another PostgreSQL that can't begin, or has not ended."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from loadtest.plays import run
from testinfra.host import Host

from support.cluster import Cluster
from support.database import Database

UPGRADE = "playbooks/upgrade_postgres.yml"


@pytest.fixture
def version(database: Database) -> str:
    return database.query(database.names[0], "SHOW server_version").split(".")[0]


@pytest.fixture
def cut_short(database: Database, hosts: dict[str, Host], version: str) -> Iterator[str]:
    """A host on which an upgrade was cut short, as its note says."""
    name, note = database.names[0], f"/var/lib/postgresql/{version}/upgrading"
    hosts[name].check_output(
        "sh -c %s", f"""echo '{{"old": {version}, "new": {version}, "step": "preparing"}}' >{note}"""
    )
    yield name
    hosts[name].check_output("rm -f %s", note)


def test_nothing_is_done_where_the_version_is_the_releases_own(cluster: Cluster, version: str) -> None:
    done = run(UPGRADE, cluster.inventory).succeeded()
    assert f"PostgreSQL {version} runs, and is what is wanted: nothing is to be done." in done.words
    assert set(done.changed.values()) == {0}


def test_what_can_not_be_asked_for_is_told(cluster: Cluster, version: str) -> None:
    for state, told in (
        ("back", f"There is no upgrade that could be taken back: PostgreSQL {version} runs"),
        ("final", f"There is no upgrade that could be finished: PostgreSQL {version} runs"),
        ("new", "state is 'new': write back or final, or leave it out."),
    ):
        assert told in run(UPGRADE, cluster.inventory, state=state).failed().words
    names = cluster.groups["db"]
    limited = run(UPGRADE, cluster.inventory, "--limit", names[0]).failed()
    assert f"An upgrade is for all database hosts, {', '.join(names)}, at the same time" in limited.words


def test_an_upgrade_that_was_cut_short_is_told(cluster: Cluster, version: str, cut_short: str) -> None:
    done = run("site.yml", cluster.inventory, "--limit", cut_short).failed()
    assert f"An upgrade of PostgreSQL is under way on {cut_short}, or was cut short" in done.words
    final = run(UPGRADE, cluster.inventory, state="final").failed()
    assert f"The upgrade from PostgreSQL {version} to {version} was cut short" in final.words
