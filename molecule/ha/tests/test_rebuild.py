"""Everything is lost but the backup host: the last of the scenario's tests."""

from __future__ import annotations

import secrets

from loadtest.plays import run
from testinfra.host import Host

from support.cluster import APPLICATION, Cluster
from support.database import Database
from support.lab import lab
from support.wait import eventually
from support.web import Browser

PATIENCE = 2400  # seconds


def test_the_site_is_rebuilt_from_bare_hosts_and_its_backup(
    cluster: Cluster, database: Database, hosts: dict[str, Host]
) -> None:
    [keeper] = cluster.groups["backup"]
    source, word = hosts[cluster.groups["web"][0]], secrets.token_hex(8)
    file = f"/srv/{APPLICATION}/media/{word}"
    source.check_output("sudo -u %s sh -c %s", APPLICATION, f"echo {word} > {file}")
    source.check_output("systemctl start hugproof-files-backup")
    leader = database.leader()
    database.query(leader, f"CREATE TABLE rebuilt AS SELECT '{word}' AS word")
    segment = database.query(leader, "SELECT pg_walfile_name(pg_switch_wal())")
    eventually(lambda: database.query(leader, "SELECT last_archived_wal FROM pg_stat_archiver") >= segment, limit=120)

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
