"""Backups that restore, refusals that change nothing, alarms that are raised and end."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
from loadtest.plays import run
from testinfra.host import Host

from support.cluster import APPLICATION, Cluster
from support.database import Database
from support.lab import lab
from support.postgres import query, waiting
from support.wait import eventually
from support.web import Browser

BACKUP, RESTORE, RESTORE_FILES = "playbooks/backup.yml", "playbooks/restore.yml", "playbooks/restore_files.yml"
REPOSITORY = f"/var/lib/pgbackrest/backup/{APPLICATION}"
SCRATCH = "/var/lib/postgresql/restore-drill"
FAILED = "systemctl --failed --no-legend --plain"


@pytest.fixture
def leader(hosts: dict[str, Host], cluster: Cluster) -> Host:
    """The database host that takes writes."""
    [found] = [name for name in cluster.groups["db"] if query(hosts[name], "SELECT pg_is_in_recovery()") == "f"]
    return hosts[found]


@pytest.fixture
def keeper(hosts: dict[str, Host], cluster: Cluster) -> Host:
    """The host that keeps the backups."""
    return hosts[cluster.groups["backup"][0]]


@dataclass(frozen=True)
class Moment:
    """Between two writes: how it can be asked for."""

    name: str
    time: str


@pytest.fixture(scope="module")
def moment(hosts: dict[str, Host], cluster: Cluster) -> Moment:
    """A moment after the row "before" was written to the table probe, and before "after" was."""
    [name] = [name for name in cluster.groups["db"] if query(hosts[name], "SELECT pg_is_in_recovery()") == "f"]
    host, point = hosts[name], f"point-{secrets.token_hex(4)}"
    query(host, "DROP TABLE IF EXISTS probe; CREATE TABLE probe (row text)")
    query(host, "INSERT INTO probe VALUES ('before')")
    run(BACKUP, cluster.inventory, restore_point=point).succeeded()
    time = query(host, "SELECT now()")
    query(host, "INSERT INTO probe VALUES ('after')")
    return Moment(point, time)


def rows(host: Host, cluster: str = "main") -> list[str]:
    return query(host, "SELECT row FROM probe ORDER BY row", cluster).split()


def test_a_restore_beside_has_what_was_there_at_that_moment_or_all(
    leader: Host, cluster: Cluster, moment: Moment
) -> None:
    told = run(RESTORE, cluster.inventory, target=f"name={moment.name}").succeeded()
    assert "Drop it: ansible-playbook playbooks/restore.yml -e drop=true" in told.output
    assert rows(leader, "restored") == ["before"]
    assert rows(leader) == ["after", "before"]
    assert query(leader, "SHOW archive_mode", "restored") == "off"
    assert query(leader, "SHOW listen_addresses", "restored") == ""
    again = run(RESTORE, cluster.inventory, target=moment.time).failed()
    assert "has a restored cluster already" in again.words
    drop(leader, cluster)
    run(RESTORE, cluster.inventory, target=moment.time).succeeded()
    assert rows(leader, "restored") == ["before"]
    drop(leader, cluster)
    run(RESTORE, cluster.inventory).succeeded()
    assert rows(leader, "restored") == ["after", "before"]
    run("playbooks/switchover.yml", cluster.inventory).succeeded()
    drop(leader, cluster)  # which leads no longer


def test_with_a_standby_off_the_data_are_restored_beside_the_database_and_not_in_its_place(
    leader: Host, cluster: Cluster, database: Database, moment: Moment
) -> None:
    lost = database.synchronous()
    lab(cluster.inventory, "stop", lost)
    try:
        run(RESTORE, cluster.inventory, target=moment.time).succeeded()
        assert rows(leader, "restored") == ["before"]
        refused = run(RESTORE, cluster.inventory, in_place=True, sure=APPLICATION).failed()
        assert f"{lost} can't be reached, and would come back with the data of before" in refused.words
        assert set(refused.changed.values()) == {0}
    finally:
        lab(cluster.inventory, "start", lost)
    drop(leader, cluster)
    eventually(database.is_whole, limit=120)


def drop(leader: Host, cluster: Cluster) -> None:
    """Drop the restored cluster; nothing of it is left."""
    run(RESTORE, cluster.inventory, drop=True).succeeded()
    assert leader.check_output("pg_lsclusters --no-header | wc -l") == "1"
    assert "restored" not in leader.check_output("ls /var/lib/postgresql/* /etc/postgresql/*").split()


@pytest.mark.parametrize(
    ("target", "told"),
    [
        ("2020-01-01 00:00:00+00", "target is '2020-01-01 00:00:00+00', which the backups don't cover"),
        ("2099-01-01 00:00:00+00", "The archive reaches from 20"),
        ("name=nothing", "There is no restore point 'nothing'. There are: "),
        ("yesterday", "target is 'yesterday': write latest, a time such as"),
    ],
)
def test_a_target_that_the_backups_do_not_have_is_refused_with_what_they_have(
    leader: Host, cluster: Cluster, moment: Moment, target: str, told: str
) -> None:
    done = run(RESTORE, cluster.inventory, target=target).failed()
    assert told in done.words
    if target.startswith("name="):
        assert moment.name in done.words
    assert set(done.changed.values()) == {0}


@pytest.mark.parametrize(
    ("passphrase", "told"),
    [
        ("another-one-than-it-was", "The repository of backups can't be read with pgbackrest_passphrase"),
        ("", "pgbackrest_passphrase is not set"),
    ],
)
def test_a_wrong_passphrase_is_told(cluster: Cluster, moment: Moment, passphrase: str, told: str) -> None:
    done = run(RESTORE, cluster.inventory, pgbackrest_passphrase=passphrase).failed()
    assert told in done.words
    assert set(done.changed.values()) == {0}


def test_a_passphrase_that_does_not_fit_reaches_no_configuration(keeper: Host, cluster: Cluster) -> None:
    """Else nothing could be archived any more."""
    before = keeper.check_output("sha256sum /etc/pgbackrest.conf")
    other = {"pgbackrest_passphrase": "another-one-than-it-was"}
    wrong = run("site.yml", cluster.inventory, "--limit", "backup", **other)
    assert "The repository of backups can't be read with pgbackrest_passphrase" in wrong.failed().words
    assert keeper.check_output("sha256sum /etc/pgbackrest.conf") == before


def test_in_place_asked_once_says_what_it_would_do(leader: Host, cluster: Cluster, moment: Moment) -> None:
    started = query(leader, "SELECT pg_postmaster_start_time()")
    done = run(RESTORE, cluster.inventory, target=f"name={moment.name}", in_place=True).failed()
    assert "what was written since is gone from the site" in done.words
    assert f"add -e sure={APPLICATION}" in done.words
    assert set(done.changed.values()) == {0}
    assert query(leader, "SELECT pg_postmaster_start_time()") == started


def test_a_backup_can_be_made_at_any_time(keeper: Host, cluster: Cluster) -> None:
    before = len(backups(keeper))
    run(BACKUP, cluster.inventory).succeeded()
    run(BACKUP, cluster.inventory, type="diff").succeeded()
    assert [backup["type"] for backup in backups(keeper)[before:]] == ["incr", "diff"]
    assert "write full, diff" in run(BACKUP, cluster.inventory, type="half").failed().words


def backups(keeper: Host) -> list[dict[str, Any]]:
    asked = keeper.check_output(f"sudo -u postgres pgbackrest --stanza={APPLICATION} --output=json info")
    return list(json.loads(asked)[0]["backup"])


def test_nobody_can_read_the_repository_without_the_passphrase(keeper: Host) -> None:
    files = f"find {REPOSITORY} /var/lib/pgbackrest/archive -type f"
    before = int(keeper.check_output(f"{files} | wc -l"))
    beginnings = keeper.check_output(f"{files} -exec head --quiet --bytes=8 {{}} +")
    after = int(keeper.check_output(f"{files} | wc -l"))
    assert before > 10
    # What is archived meanwhile comes on top.
    assert beginnings in {"Salted__" * count for count in range(before, after + 1)}


@contextmanager
def away(cluster: Cluster, keeper: Host) -> Iterator[None]:
    """The host that keeps the backups has no power."""
    name = cluster.groups["backup"][0]
    lab(cluster.inventory, "stop", "--hard", name)
    try:
        yield
        refused = run(RESTORE, cluster.inventory).failed()
        assert f"{name}, which keeps the backups, can't be reached" in refused.words
    finally:
        lab(cluster.inventory, "start", name)
    eventually(lambda: keeper.service("pgbackrest").is_running)


@contextmanager
def full(cluster: Cluster, keeper: Host) -> Iterator[None]:
    """The repository has no room for what is archived: it would go into a file system in memory that takes no file."""
    place = keeper.check_output(f"ls -d /var/lib/pgbackrest/archive/{APPLICATION}/*-1")
    keeper.check_output(f"mount -t tmpfs -o nr_inodes=1,mode=0750,uid=postgres,gid=postgres full {place}")
    try:
        yield
    finally:
        keeper.check_output(f"umount {place}")


@pytest.mark.parametrize("missing", [away, full], ids=["away", "full"])
def test_a_repository_that_takes_nothing_raises_an_alarm_that_ends(
    leader: Host, keeper: Host, cluster: Cluster, new_visitor: Callable[[], Browser],
    missing: Callable[[Cluster, Host], AbstractContextManager[None]],
) -> None:  # fmt: skip
    """Meanwhile the site is up, and what is written is kept."""
    with missing(cluster, keeper):
        query(leader, "SELECT pg_current_xact_id(); SELECT pg_switch_wal()")
        eventually(lambda: leader.run("systemctl start hugproof-archive-check").rc != 0, limit=120)
        # Its timer may have started it once more.
        eventually(lambda: "hugproof-archive-check" in leader.check_output(FAILED), limit=10)
        errors = "journalctl --no-pager --unit=hugproof-archive-check --priority=err --since=-1min"
        eventually(lambda: "The database is not archived" in leader.check_output(errors), limit=10)
        assert waiting(leader) > 0
        assert new_visitor().get(f"/?unseen={secrets.token_hex(8)}").status == 200
        query(leader, "CREATE TABLE kept (row text); DROP TABLE kept")

    # A new segment wakes the archiver; else it would try again within a minute.
    query(leader, "SELECT pg_current_xact_id(); SELECT pg_switch_wal()")
    eventually(lambda: waiting(leader) == 0, limit=120)
    # By its timer, without help.
    eventually(lambda: leader.check_output(FAILED) == "", limit=90)


def drill(keeper: Host) -> tuple[int, dict[str, Any]]:
    """Run the restore drill; return its exit status and its report."""
    status = keeper.run("systemctl start hugproof-restore-drill").rc
    return status, json.loads(keeper.check_output("cat /var/lib/hugproof/restore-drill.json"))


def test_the_drill_restores_what_the_database_has(leader: Host, keeper: Host, moment: Moment) -> None:
    query(leader, "SELECT pg_current_xact_id(); SELECT pg_switch_wal()")
    eventually(lambda: waiting(leader) == 0)
    status, report = drill(keeper)
    assert (status, report["passed"]) == (0, True), report
    assert report["tables"]["public.probe"] == 2
    assert report["rows"] == sum(report["tables"].values())
    counted = query(leader, "SELECT count(*) FROM people_profile")
    assert report["tables"]["public.people_profile"] == int(counted)
    assert report["checksums"] is (query(leader, "SHOW data_checksums") == "on")
    assert 0 <= report["age_seconds"] < 600
    assert report["backup"] == backups(keeper)[-1]["label"]
    assert keeper.check_output(f"find {SCRATCH} -mindepth 1") == ""
    assert keeper.check_output("pg_lsclusters --no-header") == ""


@contextmanager
def damaged(keeper: Host) -> Iterator[None]:
    """The largest file of the last full backup has other bytes in its middle."""
    largest = "sort -n | tail -n 1 | cut -d' ' -f2"
    [full, *_] = [backup["label"] for backup in reversed(backups(keeper)) if backup["type"] == "full"]
    path = keeper.check_output(f"find {REPOSITORY}/{full}/pg_data -type f -printf '%s %p\\n' | {largest}")
    keeper.check_output(f"cp -a {path} /var/tmp/kept")
    middle = keeper.file(path).size // 2
    keeper.check_output(f"dd if=/dev/urandom of={path} bs=1 seek={middle} count=64 conv=notrunc status=none")
    try:
        yield
    finally:
        keeper.check_output(f"cp -a /var/tmp/kept {path} && rm /var/tmp/kept")


def test_a_damaged_backup_makes_the_drill_fail(keeper: Host) -> None:
    with damaged(keeper):
        status, report = drill(keeper)
    assert (status != 0, report["passed"]) == (True, False)
    assert "pgBackRest can't restore the backup" in report["reason"]
    assert "hugproof-restore-drill" in keeper.check_output(FAILED)
    assert "The restore drill has failed" in keeper.check_output(
        "journalctl --no-pager --unit=hugproof-restore-drill --priority=err --since=-1min"
    )
    assert keeper.check_output(f"find {SCRATCH} -mindepth 1") == ""
    status, report = drill(keeper)
    assert (status, report["passed"]) == (0, True), report


def test_changes_that_are_all_too_old_make_the_drill_fail(keeper: Host) -> None:
    """As if the database had not been archived for long."""
    unit = "hugproof-restore-drill.service"
    started = keeper.check_output("grep ^ExecStart= /etc/systemd/system/%s", unit)
    sooner = re.sub(r"--max-age \d+", "--max-age 0", started)
    assert sooner != started
    keeper.check_output(f"mkdir -p /run/systemd/system/{unit}.d")
    keeper.check_output(
        f"printf '[Service]\\nExecStart=\\n%%s\\n' %s > /run/systemd/system/{unit}.d/sooner.conf", sooner
    )
    keeper.check_output("systemctl daemon-reload")
    try:
        status, report = drill(keeper)
    finally:
        keeper.check_output(f"rm -r /run/systemd/system/{unit}.d && systemctl daemon-reload")
    assert (status != 0, report["passed"]) == (True, False)
    assert "the limit is 0 s (pgbackrest_drill_max_age_seconds). Is the database archived?" in report["reason"]
    status, report = drill(keeper)
    assert (status, report["passed"]) == (0, True), report


@pytest.mark.parametrize("unit", ["pgbackrest", "pgbackrest-backup@full", "hugproof-restore-drill"])
def test_the_units_are_confined(keeper: Host, unit: str) -> None:
    shown = keeper.check_output(f"systemctl show {unit} --property=ProtectSystem,NoNewPrivileges,User,PrivateTmp")
    assert set(shown.split()) == {"ProtectSystem=strict", "NoNewPrivileges=yes", "User=postgres", "PrivateTmp=yes"}


# Last, as it takes back what was written.
def test_in_place_asked_twice_brings_back_the_moment(
    leader: Host, keeper: Host, cluster: Cluster, moment: Moment, new_visitor: Callable[[], Browser]
) -> None:
    run(RESTORE, cluster.inventory, target=f"name={moment.name}", in_place=True, sure=APPLICATION).succeeded()
    assert rows(leader) == ["before"]
    assert backups(keeper)[-1]["type"] == "full"
    eventually(lambda: new_visitor().get(f"/?unseen={secrets.token_hex(8)}").status == 200)
    query(leader, "DROP TABLE probe; SELECT pg_switch_wal()")
    eventually(lambda: waiting(leader) == 0)
    assert len(leader.check_output("ls -d /var/lib/postgresql/*/main.before-*").split()) > 0
    status, report = drill(keeper)
    assert (status, report["passed"]) == (0, True), report


def test_a_restore_over_the_data_that_failed_goes_on_when_it_is_run_again(
    leader: Host, cluster: Cluster, database: Database
) -> None:
    """On the host where it failed: the others have the data of before."""
    name = database.leader()
    wanted = {"target": "latest", "in_place": True, "sure": APPLICATION, "delta": True}
    written = f"/var/lib/postgresql/{database.version()}/main/base/1"  # of template1, which nobody writes to
    as_backed_up = leader.check_output(f"sha256sum {written}/PG_VERSION")
    leader.check_output(f"echo >> {written}/PG_VERSION")  # there is something to write, whoever was backed up
    leader.check_output(f"mount --bind {written} {written} && mount -o remount,ro,bind {written}")
    try:
        failed = run(RESTORE, cluster.inventory, **wanted).failed()
        assert "are not whole, and PostgreSQL is stopped there" in failed.words
    finally:
        leader.check_output(f"umount {written}")
    assert f"database on {name} has the data" in run(RESTORE, cluster.inventory, **wanted).succeeded().words
    assert leader.check_output(f"sha256sum {written}/PG_VERSION") == as_backed_up
    assert database.is_whole()


def test_the_two_newest_full_backups_are_kept(keeper: Host) -> None:
    keeper.check_output("systemctl start pgbackrest-backup@full")
    before = [backup["label"] for backup in backups(keeper) if backup["type"] == "full"]
    keeper.check_output("systemctl start pgbackrest-backup@full")
    after = [backup["label"] for backup in backups(keeper) if backup["type"] == "full"]
    assert (len(before), len(after), after[0]) == (2, 2, before[1])
    assert not keeper.file(f"{REPOSITORY}/{before[0]}").exists


@pytest.fixture
def source(hosts: dict[str, Host], cluster: Cluster) -> Host:
    """The web host whose uploaded files are backed up."""
    return hosts[cluster.groups["web"][0]]


def test_an_uploaded_file_that_is_gone_comes_back(source: Host, cluster: Cluster) -> None:
    place = f"/srv/{APPLICATION}/media/probe {secrets.token_hex(4)}"
    into = f"/srv/{APPLICATION}/media-of-{secrets.token_hex(4)}"

    def upload(name: str, content: str) -> None:
        source.check_output(f"sudo -u {APPLICATION} sh -c %s", f"mkdir -p '{place}'; echo {content} > '{place}/{name}'")

    upload("one", "before")
    upload("two", "before")
    source.check_output("systemctl start hugproof-files-backup")
    source.check_output("rm %s", f"{place}/one")
    upload("two", "after")
    upload("three", "after")
    told = run(RESTORE_FILES, cluster.inventory).succeeded()
    assert ": 1 came back; " in told.words
    assert source.check_output("cd %s; cat one two three", place).split() == ["before", "after", "after"]
    assert source.file(f"{place}/one").user == APPLICATION
    assert set(run(RESTORE_FILES, cluster.inventory).succeeded().changed.values()) == {0}

    unknown = run(RESTORE_FILES, cluster.inventory, snapshot="nothing").failed()
    assert "There is no backup 'nothing' of uploaded files. There are: " in unknown.words
    there = run(RESTORE_FILES, cluster.inventory, into=f"/srv/{APPLICATION}/media").failed()
    assert "write the path of a directory that it does not have yet" in there.words
    for refused in (unknown, there):
        assert set(refused.changed.values()) == {0}
    run(RESTORE_FILES, cluster.inventory, into=into).succeeded()
    assert source.check_output("cd %s/*/; ls; cat two", into).split() == ["one", "two", "before"]
    source.check_output("rm -r %s %s", place, into)


def next_run(host: Host, unit: str) -> int | None:
    """When a timer starts the unit next, in microseconds since 1970."""
    timers = json.loads(host.check_output("systemctl list-timers -o json"))
    return {timer["activates"]: timer["next"] for timer in timers}[f"{unit}.service"]


def test_backups_and_drills_have_their_hours(keeper: Host, source: Host, leader: Host) -> None:
    kept = ("pgbackrest-backup@full", "pgbackrest-backup@incr", "hugproof-restore-drill", "hugproof-files-check")
    for host, units in ((keeper, kept), (source, ("hugproof-files-backup",)), (leader, ("hugproof-archive-check",))):
        for unit in units:
            eventually(partial(next_run, host, unit))  # there is none while the unit runs, and one does each minute


def test_a_web_host_may_add_to_the_backups_and_not_delete_them(source: Host) -> None:
    newest = json.loads(source.check_output("hugproof-files snapshots --json"))[-1]["id"]
    assert "403 Forbidden" in source.run(f"timeout --signal=INT 10 hugproof-files forget {newest}").stderr
    assert newest in source.check_output("hugproof-files snapshots --json")


def test_the_backups_of_files_are_checked_and_an_old_one_is_an_alarm(keeper: Host) -> None:
    keeper.check_output("systemctl start hugproof-files-check")
    command = "hugproof-repository media snapshots --json --tag media"
    age = f"{command} | python3 /usr/local/lib/hugproof-backup/hugproof_backup_age.py --hours"
    assert keeper.run(f"{age} 1").rc == 0
    assert "The newest backup of uploaded files is 0 hours old" in keeper.run(f"{age} 0").stderr


def test_the_inventory_with_its_vault_is_in_the_backup(cluster: Cluster, keeper: Host) -> None:
    dumped = "hugproof-repository inventory dump latest /inventory.tar | tar -xOf - --wildcards"
    for name in ("hosts.yml", "group_vars/all/secrets.yml"):
        assert keeper.check_output(f"{dumped} '*/{name}'") == (cluster.inventory / name).read_text().rstrip("\n")


def test_what_a_lost_leader_had_not_archived_is_an_alarm_until_the_next_backup(
    cluster: Cluster, database: Database, hosts: dict[str, Host], keeper: Host
) -> None:
    check = "systemctl start hugproof-archive-check"
    before = hosts[database.leader()]
    timeline = int(query(before, "SELECT timeline_id FROM pg_control_checkpoint()"))
    # Later than the newest backup's beginning.
    query(before, "SELECT pg_current_xact_id(); SELECT pg_switch_wal()")
    run("playbooks/switchover.yml", cluster.inventory).succeeded()
    now, known = hosts[database.leader()], "/run/pgbackrest/hugproof-archive-whole"
    # A check that the timer has begun would be taken for the one that is asked for.
    now.check_output("systemctl stop hugproof-archive-check.timer hugproof-archive-check.service")
    try:
        eventually(lambda: now.run(check).rc == 0 and now.file(known).exists)

        # As if the leader had died before it could archive it.
        segments = f"find {REPOSITORY.replace('backup', 'archive', 1)} -name '{timeline:08X}*-*' ! -name '*partial*'"
        lost = sorted(keeper.check_output(segments).split())[-1]
        keeper.check_output("rm %s", lost)
        now.check_output("rm %s", known)
        assert now.run(check).rc != 0
        errors = now.check_output("journalctl --no-pager --unit=hugproof-archive-check --priority=err --since=-1min")
        assert f"the segment {lost.split('/')[-1].split('-')[0]} among it" in errors
        run(BACKUP, cluster.inventory).succeeded()
        now.check_output(check)
    finally:
        now.check_output("systemctl start hugproof-archive-check.timer")
