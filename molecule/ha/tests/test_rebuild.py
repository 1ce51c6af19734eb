"""The backup host is lost, then everything but the backup host: the last of the scenario's tests."""

from __future__ import annotations

import json
import secrets

from loadtest.plays import run
from testinfra.host import Host

from support.cluster import APPLICATION, Cluster
from support.database import Database
from support.lab import lab
from support.wait import eventually
from support.web import Browser

PATIENCE = 2400  # seconds


def archived(database: Database) -> None:
    """Wait until all that is written now is in the archive."""
    leader = database.leader()
    # Something is written first: a segment that is empty is not archived, and pg_switch_wal does nothing then.
    switch = "SELECT pg_walfile_name(pg_switch_wal()) FROM pg_logical_emit_message(false, 'hugproof', 'archived')"
    segment = database.query(leader, switch)
    eventually(lambda: database.query(leader, "SELECT last_archived_wal FROM pg_stat_archiver") >= segment, limit=120)


def test_a_bare_backup_host_takes_the_place_of_the_one_that_is_lost(
    cluster: Cluster, database: Database, hosts: dict[str, Host]
) -> None:
    [keeper] = cluster.groups["backup"]
    lab(cluster.inventory, "remove", keeper)
    lab(cluster.inventory, "up")
    run("site.yml", cluster.inventory, patience=PATIENCE).succeeded()
    archived(database)
    assert json.loads(hosts[keeper].check_output("hugproof-repository media snapshots --json"))
    run("playbooks/backup.yml", cluster.inventory).succeeded()


def test_the_site_is_rebuilt_from_bare_hosts_and_its_backup(
    cluster: Cluster, database: Database, hosts: dict[str, Host]
) -> None:
    [keeper] = cluster.groups["backup"]
    source, word = hosts[cluster.groups["web"][0]], secrets.token_hex(8)
    file = f"/srv/{APPLICATION}/media/{word}"
    source.check_output("sudo -u %s sh -c %s", APPLICATION, f"echo {word} > {file}")
    source.check_output("systemctl start hugproof-files-backup")
    database.query(database.leader(), f"CREATE TABLE rebuilt AS SELECT '{word}' AS word")
    archived(database)

    lost = sorted(set(cluster.addresses) - {keeper})
    lab(cluster.inventory, "remove", *lost)
    lab(cluster.inventory, "up")
    run("playbooks/rebuild.yml", cluster.inventory, patience=PATIENCE).succeeded()

    assert source.check_output("cat %s", file) == word
    assert database.query(database.leader(), "SELECT word FROM rebuilt") == word
    eventually(database.is_whole, limit=120)
    assert Browser(cluster.edge, 443, cluster.authority).get("/").status == 200
    # It is the database that the backups are of by now.
    wanted = {"target": "latest", "in_place": True, "lost": True, "sure": APPLICATION}
    again = run("playbooks/restore.yml", cluster.inventory, **wanted).failed()
    assert "is the one that the backups are of: it is not lost." in again.words
