"""Backups in a storage that speaks S3: they restore, a wrong key is told, and the lost site comes back from them."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable

import pytest
from loadtest.plays import run
from testinfra.host import Host

from support.cluster import APPLICATION, Cluster
from support.lab import lab
from support.postgres import query, waiting
from support.wait import eventually
from support.web import Browser

BACKUP, RESTORE, RESTORE_FILES = "playbooks/backup.yml", "playbooks/restore.yml", "playbooks/restore_files.yml"
MEDIA = f"/srv/{APPLICATION}/media"
BUCKET, ENDPOINT = "backups", "10.44.6.11"
PATIENCE = 1800  # seconds
FAILED = "systemctl --failed --no-legend --plain"


@pytest.fixture(scope="session")
def site(cluster: Cluster, hosts: dict[str, Host], storage: Host) -> Host:
    """The one host of the site, which has been converged."""
    run("site.yml", cluster.inventory, patience=PATIENCE).succeeded()
    return hosts[cluster.groups["db"][0]]


def archived(host: Host) -> None:
    """Wait until all that has been written is in the archive."""
    query(host, "SELECT pg_current_xact_id(); SELECT pg_switch_wal()")
    eventually(lambda: waiting(host) == 0, limit=120)


def upload(host: Host, name: str) -> str:
    host.check_output(f"sudo -u {APPLICATION} sh -c %s", f"echo {name} > {MEDIA}/{name}")
    return f"{MEDIA}/{name}"


def test_a_second_run_changes_nothing(site: Host, cluster: Cluster) -> None:
    assert set(run("site.yml", cluster.inventory).succeeded().changed.values()) == {0}
    told = json.loads(site.check_output("sudo -u postgres pgbackrest --output=json info"))[0]
    assert [backup["type"] for backup in told["backup"]] == ["full"]
    assert told["cipher"] == "aes-256-cbc"


def test_a_moment_comes_back_beside(site: Host, cluster: Cluster) -> None:
    point = f"point-{secrets.token_hex(4)}"
    query(site, "CREATE TABLE probe AS SELECT 'before' AS row")
    run(BACKUP, cluster.inventory, restore_point=point).succeeded()
    query(site, "INSERT INTO probe VALUES ('after')")
    run(RESTORE, cluster.inventory, target=f"name={point}").succeeded()
    assert query(site, "SELECT row FROM probe", "restored") == "before"
    assert query(site, "SELECT row FROM probe").split() == ["before", "after"]
    run(RESTORE, cluster.inventory, drop=True).succeeded()


def test_a_backup_is_made_and_drilled(site: Host, cluster: Cluster) -> None:
    run(BACKUP, cluster.inventory).succeeded()
    archived(site)
    site.check_output("systemctl start hugproof-restore-drill")
    report = json.loads(site.check_output("cat /var/lib/hugproof/restore-drill.json"))
    assert (report["passed"], report["tables"]["public.probe"]) == (True, 2), report


def test_an_uploaded_file_comes_back_and_the_backups_are_checked(site: Host, cluster: Cluster) -> None:
    path = upload(site, secrets.token_hex(8))
    run(BACKUP, cluster.inventory).succeeded()
    site.check_output("rm %s", path)
    assert ": 1 came back; " in run(RESTORE_FILES, cluster.inventory).succeeded().words
    assert site.file(path).exists
    site.check_output("systemctl start hugproof-files-check")
    newest = json.loads(site.check_output("hugproof-files snapshots --json"))[-1]["id"]
    assert "403 Forbidden" in site.run(f"timeout --signal=INT 10 hugproof-files forget {newest}").stderr
    dumped = "hugproof-repository inventory dump latest /inventory.tar | tar -xOf - --wildcards"
    assert site.check_output(f"{dumped} '*/hosts.yml'") == (cluster.inventory / "hosts.yml").read_text().rstrip("\n")


def test_a_wrong_key_is_told_and_reaches_no_configuration(site: Host, cluster: Cluster) -> None:
    before = site.check_output("sha256sum /etc/pgbackrest.conf /etc/restic/environment")
    done = run("site.yml", cluster.inventory, **{"pgbackrest_s3_key_secret": "another"}).failed()
    assert "SignatureDoesNotMatch" in done.words
    assert site.check_output("sha256sum /etc/pgbackrest.conf /etc/restic/environment") == before
    archived(site)


def test_a_storage_that_is_gone_raises_an_alarm_that_ends(
    site: Host, storage: Host, cluster: Cluster, new_visitor: Callable[[], Browser]
) -> None:
    """Meanwhile the site is up, and what is written is kept."""
    storage.check_output("systemctl kill --signal=STOP weed")
    try:
        query(site, "SELECT pg_current_xact_id(); SELECT pg_switch_wal()")
        eventually(lambda: site.run("systemctl start hugproof-archive-check").rc != 0, limit=180)
        # Its timer may have started it once more.
        eventually(lambda: "hugproof-archive-check" in site.check_output(FAILED), limit=10)
        assert waiting(site) > 0
        assert new_visitor().get(f"/?unseen={secrets.token_hex(8)}").status == 200
    finally:
        storage.check_output("systemctl kill --signal=CONT weed")
    archived(site)
    eventually(lambda: site.check_output(FAILED) == "", limit=90)


def test_the_lost_site_comes_back_from_the_storage(site: Host, cluster: Cluster) -> None:
    word = secrets.token_hex(8)
    path = upload(site, word)
    site.check_output("systemctl start hugproof-files-backup")
    query(site, f"CREATE TABLE rebuilt AS SELECT '{word}' AS word")
    archived(site)

    lab(cluster.inventory, "remove", *cluster.addresses)
    lab(cluster.inventory, "up")
    assert kept_inventory(site, cluster) == (cluster.inventory / "hosts.yml").read_text().rstrip("\n")
    run("playbooks/rebuild.yml", cluster.inventory, patience=PATIENCE).succeeded()

    assert site.check_output("cat %s", path) == word
    assert query(site, "SELECT word FROM rebuilt") == word
    assert Browser(cluster.edge, 443, cluster.authority).get("/").status == 200
    run("site.yml", cluster.inventory).succeeded()
    assert set(run("site.yml", cluster.inventory).succeeded().changed.values()) == {0}
    archived(site)


def kept_inventory(host: Host, cluster: Cluster) -> str:
    """The inventory's file, asked for on a bare host with keys alone, as docs/backup-and-restore.md says."""
    known = cluster.secrets()
    environment = {
        "RESTIC_PASSWORD": known["pgbackrest_passphrase"],
        "RCLONE_CONFIG_STORAGE_TYPE": "s3",
        "RCLONE_CONFIG_STORAGE_PROVIDER": "Other",
        "RCLONE_CONFIG_STORAGE_ENDPOINT": ENDPOINT,
        "RCLONE_CONFIG_STORAGE_REGION": "us-east-1",
        "RCLONE_CONFIG_STORAGE_ACCESS_KEY_ID": known["s3_key"],
        "RCLONE_CONFIG_STORAGE_SECRET_ACCESS_KEY": known["s3_key_secret"],
        "RCLONE_NO_CHECK_CERTIFICATE": "true",
    }
    host.check_output("apt-get update -q && apt-get install -q -y --no-install-recommends restic rclone")
    settings = " ".join(f"{name}='{value}'" for name, value in environment.items())
    dump = f"restic -r rclone:storage:{BUCKET}/{APPLICATION}-inventory dump latest /inventory.tar"
    return str(host.check_output(f"env {settings} {dump} | tar -xOf - --wildcards '*/hosts.yml'"))
