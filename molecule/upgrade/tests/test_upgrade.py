"""The database goes from Debian 12's PostgreSQL to Debian 13's, under visitors: halfway, there, back, and for good."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from loadtest.drills.figures import CACHED
from loadtest.plays import Run, run
from loadtest.results import failures
from loadtest.words import HOT
from testinfra.host import Host

from support.cluster import Cluster
from support.database import Database
from support.traffic import Visitors
from support.wait import eventually
from support.web import Browser

UPGRADE = "playbooks/upgrade_postgres.yml"
OLD, NEW = "15", "17"
# What an older Debian had can be installed, as on hosts that came from there.
OFFER = (Path(__file__).parent / "debian12.sh").read_text()
# While the upgrade moves the data: pg_upgrade alone, not its check before.
KILL = f"grep -q moving /var/lib/postgresql/{OLD}/upgrading && kill -9 $(pgrep -x pg_upgrade)"


@pytest.fixture(scope="session", autouse=True)
def database(cluster: Cluster, hosts: dict[str, Host]) -> Database:
    """The cluster, with the older version."""
    for name in (*cluster.groups["db"], *cluster.groups["backup"]):
        hosts[name].check_output("sh -c %s", OFFER)
    run("site.yml", cluster.inventory, postgres_version=int(OLD)).succeeded()
    return Database(cluster, hosts)


@pytest.fixture(autouse=True)
def whole(database: Database) -> Iterator[None]:
    """Before and after each test the cluster is, and all that is written gets into the archive."""
    eventually(database.is_whole, limit=90)
    yield
    eventually(database.is_whole, limit=90)
    database.query(database.leader(), "SELECT pg_current_xact_id(); SELECT pg_switch_wal()")
    waiting = "SELECT count(*) FROM pg_ls_archive_statusdir() WHERE name ~ '[.]ready$'"
    eventually(lambda: database.query(database.leader(), waiting) == "0", limit=90)


def versions(database: Database) -> set[str]:
    return {database.query(name, "SHOW server_version").split(".")[0] for name in database.names}


def write(database: Database) -> str:
    """Write a row, and return its name."""
    row, leader = f"row-{secrets.token_hex(4)}", database.leader()
    database.query(leader, "CREATE TABLE IF NOT EXISTS probe (row text)")
    database.query(leader, f"INSERT INTO probe VALUES ('{row}')")
    return row


def rows(database: Database) -> list[str]:
    return database.query(database.leader(), "SELECT row FROM probe").split()


@pytest.fixture
def warm(new_visitor: Callable[[], Browser], profiles: int) -> None:
    """The cache has the pages that visitors are to get from it."""
    visitor = new_visitor()
    for page in ("/", *(f"/profile/{number}/" for number in range(1, HOT + 1))):
        eventually(lambda page=page: visitor.get(page).is_hit)


def upgraded(cluster: Cluster, comers: Visitors) -> Run:
    """Upgrade while visitors come, who get every cached page."""
    with comers.meanwhile("cached"):
        done = run(UPGRADE, cluster.inventory).succeeded()
    recorded = comers.visits[-1].recorded
    assert not any(recorded["classes"][name]["failures"] for name in CACHED), failures(recorded)
    [pause] = re.findall(r"Nobody could write for ([0-9.]+) s", done.words)
    print(f"nobody could write for {pause} s; failed meanwhile: {failures(recorded)}")
    return done


def test_an_upgrade_that_dies_halfway_leaves_the_old_version_with_all_that_was_written(
    cluster: Cluster, database: Database, hosts: dict[str, Host]
) -> None:
    row, leader = write(database), database.leader()
    with ThreadPoolExecutor() as pool:
        killed = pool.submit(eventually, lambda: hosts[leader].run(KILL).rc == 0, limit=600)
        done = run(UPGRADE, cluster.inventory).failed()
        killed.result()
    assert f"PostgreSQL {OLD} serves again, with all that it had when it stopped" in done.words
    assert versions(database) == {OLD}
    assert row in rows(database)


def test_the_new_version_has_all_that_was_written_and_the_way_back_is_there(
    cluster: Cluster, database: Database, comers: Visitors, warm: None
) -> None:
    before, moment = write(database), database.query(database.leader(), "SELECT now()")
    upgraded(cluster, comers)
    assert versions(database) == {NEW}
    since = write(database)
    # Its PostgreSQL does not start with backups of the other version.
    refused = run("playbooks/restore.yml", cluster.inventory, target=moment).failed()
    assert f"target is '{moment}', which the backups don't cover" in refused.words
    assert {before, since} <= set(rows(database))
    run("site.yml", cluster.inventory).succeeded()
    assert set(run("site.yml", cluster.inventory).succeeded().changed.values()) == {0}

    refused = run(UPGRADE, cluster.inventory, state="back").failed()
    assert f"Back to PostgreSQL {OLD} means: everything that was written since" in refused.words
    assert since in rows(database)
    run(UPGRADE, cluster.inventory, state="back", lose_writes=True).succeeded()
    assert versions(database) == {OLD}
    assert (before in rows(database), since in rows(database)) == (True, False)


def test_in_the_end_nothing_is_left_of_the_old_version(
    cluster: Cluster, database: Database, comers: Visitors, hosts: dict[str, Host], warm: None
) -> None:
    row = write(database)
    upgraded(cluster, comers)
    run(UPGRADE, cluster.inventory, state="final").succeeded()
    run("site.yml", cluster.inventory).succeeded()
    for name in database.names:
        assert not hosts[name].package(f"postgresql-{OLD}").is_installed
        assert hosts[name].check_output(f"find /var/lib/postgresql /etc/postgresql /etc/patroni -name '{OLD}*'") == ""
    assert row in rows(database)
    [keeper] = cluster.groups["backup"]
    hosts[keeper].check_output("systemctl start hugproof-restore-drill")
    assert set(run("site.yml", cluster.inventory).succeeded().changed.values()) == {0}
