"""Full disks. The disks of lab hosts are this machine's, so small file systems in memory stand in for them."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from loadtest.drills.site import Site, within
from loadtest.plays import run
from loadtest.target import LoadError

# Root's own too, and until nothing more fits.
FILL = "cat /dev/zero > {place}/filler; test -s {place}/filler"
# What a small disk for the write-ahead log has room for beside what is there.
ROOM_MB = 64
# A switch takes a segment of the log, of which some are there beforehand.
SEGMENTS = 40
READY = 120.0  # seconds


@contextmanager
def full_logs(site: Site) -> Iterator[None]:
    """The disk that an edge host's nginx logs to is full: a small one of its own, as disks of lab hosts have no end."""
    name, place = site.holder(), "/var/log/nginx"
    site.hosts.run(name, "mount", "-t", "tmpfs", "-o", "size=1m,mode=0755", "drill", place)
    try:
        site.hosts.run(name, "nginx", "-s", "reopen")
        site.breaks(f"{place} on {name} full")
        site.hosts.run(name, "sh", "-c", FILL.format(place=place), limit=30)
        yield
    finally:
        # nginx lets go of the files when it has opened others: until then the place is busy.
        site.hosts.run(name, "umount", "--lazy", place)
        site.hosts.run(name, "nginx", "-s", "reopen")


@contextmanager
def full_web(site: Site) -> Iterator[None]:
    """A web host's disk is full where its application and its journal write: small ones in memory, of their own."""
    name, unit = site.target.groups["web"][0], site.target.application
    kept = site.hosts.run(name, "find", "/run/log", "/var/log", "-maxdepth", "1", "-name", "journal").split()
    journal = kept[-1]
    process = site.hosts.run(name, "systemctl", "show", "--property=MainPID", "--value", unit).strip()
    # Its /tmp is its own, and so is what is mounted there.
    inside = ("nsenter", f"--target={process}", "--mount")
    small = ("mount", "-t", "tmpfs", "-o", "size=4k", "drill")
    with ExitStack() as healing:
        site.hosts.run(name, *small, journal)
        healing.callback(site.hosts.run, name, "journalctl", "--rotate")
        healing.callback(site.hosts.run, name, "umount", "--lazy", journal)
        site.hosts.run(name, *inside, *small, "/tmp")  # noqa: S108
        # With the process its /tmp would be gone, too.
        undo = f"{shlex.join(inside)} umount --lazy /tmp || ! kill -0 {process}"
        healing.callback(site.hosts.run, name, "sh", "-c", undo)
        site.breaks(f"disk of {name} full")
        site.hosts.run(name, "journalctl", "--rotate")
        site.hosts.run(name, *inside, "sh", "-c", FILL.format(place="/tmp"))  # noqa: S108
        yield


@contextmanager
def full_wal(site: Site) -> Iterator[None]:
    """The leader's write-ahead log has a small disk of its own, which fills up."""
    name = site.standby(synchronous=True)
    with _small_disk(site, name, site.query("SHOW data_directory") + "/pg_wal") as place:
        _make_synchronous(site, name)
        done = run("playbooks/switchover.yml", site.target.inventory, to=name)
        if done.returncode:
            raise LoadError(f"{name} was to lead:\n{done.output[-2000:]}")
        _wait(site)
        site.breaks(f"disk of the log on {name} full", name, reachable=True)
        try:
            site.hosts.run(name, "sh", "-c", FILL.format(place=place), limit=30)
            _use_up(site)
            yield
        finally:
            site.hosts.run(name, "rm", "-f", f"{place}/filler")
            _wait(site)


def _make_synchronous(site: Site, name: str) -> None:
    """A standby is the one that has every acknowledged write: the others stand back until it is."""
    lead = site.leader()
    others = [host for host in site.target.groups["db"] if host not in (name, lead)]
    try:
        for host in others:
            site.hosts.run(host, "systemctl", "stop", _patroni(site, host), limit=60)
        if not within(READY, lambda: site.standby(synchronous=True) == name):
            raise LoadError(f"{name} does not become the synchronous standby: {site.members()}")
    finally:
        for host in others:
            site.hosts.run(host, "systemctl", "start", _patroni(site, host), limit=60)
    _wait(site)


def _patroni(site: Site, name: str) -> str:
    """The unit of Patroni on a database host, which runs or has run."""
    every = ("systemctl", "list-units", "--all", "--plain", "--no-legend", "patroni@*.service")
    return site.hosts.run(name, *every).split()[0]


def _use_up(site: Site) -> None:
    """Have the leader begin new segments of its log until it can't."""
    try:
        for _ in range(SEGMENTS):
            site.query("CREATE TABLE drill_segment (); DROP TABLE drill_segment; SELECT pg_switch_wal()")
    except LoadError:
        return
    raise LoadError("The leader goes on writing: its disk is not full.")


@contextmanager
def _small_disk(site: Site, name: str, place: str) -> Iterator[str]:
    """A directory of a standby's PostgreSQL is on a small disk of its own; afterwards it is where it was."""
    aside = "/var/lib/postgresql/drill-pg_wal"
    used = int(site.hosts.run(name, "du", "-sm", place).split()[0])
    unit = _patroni(site, name)
    options = f"size={used + ROOM_MB}m,mode=0700,uid=postgres,gid=postgres"
    site.hosts.run(name, "systemctl", "stop", unit, limit=60)
    try:
        site.hosts.run(name, "cp", "-a", place, aside, limit=60)
        site.hosts.run(name, "mount", "-t", "tmpfs", "-o", options, "drill", place)
        try:
            site.hosts.run(name, "cp", "-a", f"{aside}/.", place, limit=60)
            site.hosts.run(name, "systemctl", "start", unit)
            _wait(site)
            yield place
        finally:
            site.hosts.run(name, "systemctl", "stop", unit, limit=60)
            site.hosts.run(name, "rm", "-rf", aside)
            site.hosts.run(name, "cp", "-a", place, aside, limit=60)
            site.hosts.run(name, "umount", place)
            # What was there before the small disk is old by now.
            site.hosts.run(name, "find", place, "-mindepth", "1", "-delete")
            site.hosts.run(name, "cp", "-a", f"{aside}/.", place, limit=60)
            site.hosts.run(name, "rm", "-rf", aside)
    finally:
        site.hosts.run(name, "systemctl", "start", unit)


def _wait(site: Site) -> None:
    if missing := site.wait_until_whole(READY):
        raise LoadError(f"The site is not whole: {missing}")
