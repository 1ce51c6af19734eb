"""What is broken in each drill, and how it is healed."""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

from loadtest.drills.disks import full_logs, full_wal, full_web
from loadtest.drills.site import Site, within
from loadtest.plays import Run, run
from loadtest.target import LoadError, Target

REBOOT_SECONDS = 3600
UPGRADE = "playbooks/upgrade_postgres.yml"
UPGRADE_SECONDS = 900
# A service that is killed is back by itself within so many seconds, or it is complained of.
COMES_BACK = 30.0
# One that hangs is killed within a minute or so.
HANGS = 90.0
ON_EDGE = 5.0

Breaks = Callable[[Site], AbstractContextManager[None]]


@dataclass(frozen=True)
class Drill:
    """What is broken while `breaks` is entered, and what is expected then: `by_itself`, that nobody has to heal it;
    `planned`, that a playbook does it, in the middle of which it is noticed.

    `hold`: seconds that it stays broken at least. `limit`, `share`, `in_flight`, `whole`: as figures.faults has them.
    `needs`: what keeps the drill from a cluster, in words; empty when it can take place.
    `before`: has everything as it has to be before the drill begins. `named`: it takes place only when it is named.
    """

    says: str
    breaks: Breaks
    hold: float = 15
    limit: float | None = 10
    in_flight: float | None = None
    whole: float = 180
    share: float = 0
    by_itself: bool = False
    planned: bool = False
    needs: Callable[[Target], str] = lambda _: ""
    before: Callable[[Site], object] = lambda _: None
    named: bool = False


# Takes hold of a host, or of several.
Choice = Callable[[Site], str]
Choices = Callable[[Site], list[str]]


def names_of(choice: Choice | Choices, site: Site) -> list[str]:
    """The names of what is chosen."""
    found = choice(site)
    return [found] if isinstance(found, str) else found


def member_of(group: str, place: int = 0) -> Choice:
    """A host of a group."""
    return lambda site: site.target.groups[group][place]


def leader(site: Site) -> str:
    """The database host that leads."""
    if not (name := site.leader()):
        raise LoadError("No database host leads.")
    return name


def other_edge(site: Site) -> str:
    """An edge host by which nobody comes in."""
    holder = site.holder()
    return next(name for name in site.target.groups["edge"] if name != holder)


def follower(*, synchronous: bool) -> Choice:
    """A standby."""
    return lambda site: site.standby(synchronous=synchronous)


def groups(*names: str) -> Choices:
    """All hosts of groups."""
    return lambda site: list(dict.fromkeys(host for name in names for host in site.target.groups[name]))


@contextmanager
def off(choice: Choice | Choices, site: Site) -> Iterator[None]:
    """Hosts lose their power, and get it back."""
    names = names_of(choice, site)
    site.breaks(f"{', '.join(names)} off", *names)
    try:
        site.power.off(*names)
        yield
    finally:
        site.power.on(*names)


@contextmanager
def cut(choice: Choice, site: Site) -> Iterator[None]:
    """A host loses its network."""
    name = choice(site)
    site.breaks(f"{name} cut off", name)
    try:
        site.power.cut(name)
        yield
    finally:
        site.power.mend()


@contextmanager
def split(choice: Choice | Choices, others: Choices, site: Site, *, lost: bool = False) -> Iterator[None]:
    """Hosts and others do not reach each other; all the rest reach both sides. Where the hosts are `lost` by that,
    others are asked about the cluster.
    """
    names = names_of(choice, site)
    far = tuple(host for host in others(site) if host not in names)
    site.breaks(f"{', '.join(names)} cut off from {', '.join(far)}", *(names if lost else []))
    try:
        site.power.cut(*names, others=far)
        yield
    finally:
        site.power.mend()


@contextmanager
def killed(choice: Choice, unit: str, site: Site) -> Iterator[None]:
    """The main process of a unit is killed; systemd brings it back."""
    name = choice(site)
    pattern = f"{unit_of(site, unit)}.service"
    found = site.hosts.run(name, "systemctl", "list-units", "--plain", "--no-legend", pattern).split()
    if not found:
        raise LoadError(f"{name} has no unit {unit}.")
    site.breaks(f"{unit} on {name} killed", name, reachable=True)
    site.hosts.run(name, "systemctl", "kill", "--kill-whom=main", "--signal=KILL", found[0])
    with _back_by_itself(site, name, found[0]):
        yield


@contextmanager
def postmaster_killed(site: Site) -> Iterator[None]:
    """The leader's PostgreSQL is killed; Patroni sees to it."""
    name = leader(site)
    [data] = site.hosts.run(name, "find", "/var/lib/postgresql", "-name", "postmaster.pid").split()
    pid = site.hosts.run(name, "head", "-n1", data).strip()
    site.breaks(f"PostgreSQL on {name} killed", name, reachable=True)
    site.hosts.run(name, "kill", "-9", pid)
    yield


@contextmanager
def _back_by_itself(site: Site, name: str, unit: str) -> Iterator[None]:
    try:
        yield
    finally:
        active = lambda: site.hosts.run(name, "systemctl", "show", "-P", "ActiveState", unit).strip() == "active"  # noqa: E731
        if not within(COMES_BACK, active):
            site.complaints.append(f"{unit} on {name} did not come back by itself")
            site.hosts.run(name, "systemctl", "restart", unit)


def unit_of(site: Site, unit: str) -> str:
    """A unit's name, of which the application's is the inventory's business."""
    return site.target.application if unit == "application" else unit


@contextmanager
def hung(site: Site) -> Iterator[None]:
    """All processes of the application on a web host stand still: connections are taken, and nothing is answered."""
    name, unit = site.target.groups["web"][0], site.target.application
    main = lambda: site.hosts.run(name, "systemctl", "show", "-P", "MainPID", unit)  # noqa: E731
    before = main()
    site.breaks(f"{unit} on {name} stopped")
    site.hosts.run(name, "systemctl", "kill", "--signal=STOP", unit)
    try:
        yield
        if not within(HANGS, lambda: main() not in (before, "0\n")):
            site.complaints.append(f"{unit} on {name} was not started anew by itself")
    finally:
        site.hosts.run(name, "systemctl", "kill", "--signal=CONT", unit)


@contextmanager
def out_of_memory(site: Site) -> Iterator[None]:
    """A web host has no memory left: its kernel kills a process of the application's, the largest, again and again."""
    name, unit = site.target.groups["web"][0], site.target.application
    group = f"/sys/fs/cgroup/system.slice/{unit}.service/cgroup.procs"
    largest = f"kill -9 $(ps -o pid= --sort=-rss -p $(paste -sd, {group}) | head -n1)"
    over = threading.Event()

    def kill() -> None:
        while not over.wait(1):
            # All of them may have just ended.
            with contextlib.suppress(LoadError):
                site.hosts.run(name, "sh", "-c", largest)

    killer = threading.Thread(target=kill)
    site.breaks(f"{unit} on {name} has no memory")
    site.hosts.run(name, "sh", "-c", largest)
    try:
        killer.start()
        with _back_by_itself(site, name, f"{unit}.service"):
            yield
            over.set()
    finally:
        over.set()
        killer.join()


@contextmanager
def stopped(site: Site) -> Iterator[None]:
    """The application does not run on any web host."""
    names, unit = site.target.groups["web"], site.target.application
    site.breaks(f"{unit} on {' and '.join(names)} stopped")
    try:
        site.hosts.run_on(names, "systemctl", "stop", unit)
        yield
    finally:
        site.hosts.run_on(names, "systemctl", "start", unit)


def etcd_stopped(count: int) -> Breaks:
    """So many of those that vote on the leader are gone; the leader's own is the last to go."""

    @contextmanager
    def gone(site: Site) -> Iterator[None]:
        lead = leader(site)
        names = sorted(site.target.groups["dcs"], key=lambda name: name == lead)[:count]
        site.breaks(f"etcd on {' and '.join(names)} stopped")
        try:
            site.hosts.run_on(names, "systemctl", "stop", "etcd")
            yield
        finally:
            site.hosts.run_on(names, "systemctl", "start", "etcd")

    return gone


@contextmanager
def errors(site: Site) -> Iterator[None]:
    """The database lets the application in no more: it answers, and every answer is an error."""
    name = site.target.application
    before = site.query(f"SELECT datconnlimit FROM pg_database WHERE datname = '{name}'", "postgres")  # noqa: S608
    site.breaks("The database refuses the application")
    try:
        site.query(f"ALTER DATABASE {name} CONNECTION LIMIT 0", "postgres")
        ends = f"SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = '{name}'"  # noqa: S608
        site.query(ends, "postgres")
        yield
    finally:
        site.query(f"ALTER DATABASE {name} CONNECTION LIMIT {before}", "postgres")


def play(playbook: str, limit: float, what: str, **variables: object) -> Breaks:
    """A playbook runs, which is not to be noticed."""

    @contextmanager
    def runs(site: Site) -> Iterator[None]:
        site.breaks(what)
        played(site, playbook, limit, **variables)
        site.mark("done")
        yield

    return runs


def played(site: Site, playbook: str, limit: float, **variables: object) -> Run:
    """What a playbook said that has run, in `limit` seconds. Raises LoadError when it failed."""
    done = run(playbook, site.target.inventory, patience=limit, **variables)
    if done.returncode:
        raise LoadError(f"{playbook} failed:\n{done.output[-3000:]}")
    return done


@contextmanager
def upgraded(site: Site) -> Iterator[None]:
    """The database goes to the PostgreSQL of its hosts' Debian release; back again when it does not get there."""
    site.breaks("PostgreSQL is upgraded")
    try:
        done = played(site, UPGRADE, UPGRADE_SECONDS)
    except BaseException:
        run(UPGRADE, site.target.inventory, patience=UPGRADE_SECONDS, state="back", lose_writes=True)
        raise
    if "Nobody could write for" not in done.words:
        raise LoadError("There is nothing to upgrade: docs/upgrade-postgresql.md tells how the lab has an older one.")
    site.mark("done")
    yield


def older_postgres(site: Site) -> None:
    """Where the database has been upgraded, it has gone back. Raises LoadError when it can't."""
    if site.hosts.run(leader(site), "find", "/var/lib/postgresql", "-maxdepth", "2", "-name", "upgraded"):
        played(site, UPGRADE, UPGRADE_SECONDS, state="back", lose_writes=True)
        if missing := site.wait_until_whole(UPGRADE_SECONDS):
            raise LoadError(f"Back on the older PostgreSQL, the site is not whole: {missing}")


def needs(group: str, count: int = 1) -> Callable[[Target], str]:
    """So many hosts in a group."""
    return lambda target: "" if len(target.groups[group]) >= count else f"{count} hosts in the group {group}"


def shared_address(target: Target) -> str:
    """Edge hosts that stand in for each other."""
    return needs("edge", 2)(target) or ("" if target.shared else "an address that the edge hosts share")


def apart(group: str, *others: str) -> Callable[[Target], str]:
    """Hosts of a group that are in none of some others."""

    def lacks(target: Target) -> str:
        there = {host for name in others for host in target.groups[name]}
        return f"{group} hosts of their own" if there & set(target.groups[group]) else ""

    return lacks


def _off(choice: Choice | Choices) -> Breaks:
    return functools.partial(off, choice)


def _split(choice: Choice | Choices, *others: str, lost: bool = False) -> Breaks:
    return functools.partial(split, choice, groups(*others), lost=lost)


def _killed(choice: Choice, unit: str) -> Breaks:
    return functools.partial(killed, choice, unit)


def holder(site: Site) -> str:
    """The edge host that visitors come in by."""
    return site.holder()


# Somebody else has to lead, and the application's connections have to find it.
FAILOVER = 20.0
# A leader that is cut off from those that vote on it alone is given up when its lease has run out, 20 seconds at least.
LEASE = 25.0

Killed = functools.partial(Drill, by_itself=True)

DRILLS = {
    "kill-postgres": Killed("The leader's PostgreSQL is killed.", postmaster_killed),
    "kill-patroni": Killed("The leader's Patroni is killed.", _killed(leader, "patroni@*")),
    "kill-etcd": Killed("etcd on the leader's host is killed.", _killed(leader, "etcd")),
    "kill-memcached": Killed("A memcached is killed.", _killed(member_of("cache"), "memcached")),
    "kill-uwsgi": Killed("The application's uWSGI is killed on a web host.", _killed(member_of("web"), "application")),
    "kill-nginx": Killed(
        "nginx is killed on the edge host that visitors come in by.", _killed(holder, "nginx"), in_flight=ON_EDGE
    ),
    "kill-varnish": Killed(
        "Varnish is killed on the edge host that visitors come in by.", _killed(holder, "varnish"), in_flight=ON_EDGE
    ),
    "kill-keepalived": Killed(
        "keepalived is killed on the edge host that visitors come in by.", _killed(holder, "keepalived"),
        in_flight=ON_EDGE, needs=shared_address,
    ),
    "off-db-leader": Drill("The database host that leads loses its power.", _off(leader), limit=FAILOVER),
    "off-db-standby": Drill("The synchronous standby loses its power.", _off(follower(synchronous=True))),
    "off-db-other": Drill(
        "Another standby loses its power.", _off(follower(synchronous=False)), needs=needs("db", 3)
    ),
    "off-cache": Drill("A cache host loses its power.", _off(member_of("cache"))),
    "off-cache-other": Drill(
        "Another cache host loses its power.", _off(member_of("cache", -1)), needs=needs("cache", 2)
    ),
    "off-web": Drill("A web host loses its power.", _off(member_of("web")), needs=needs("web", 2)),
    "off-web-other": Drill("Another web host loses its power.", _off(member_of("web", -1)), needs=needs("web", 2)),
    "off-edge": Drill(
        "The edge host that visitors come in by loses its power.", _off(holder), needs=shared_address
    ),
    "off-edge-other": Drill("The other edge host loses its power.", _off(other_edge), needs=needs("edge", 2)),
    "off-backup": Drill("The backup host loses its power.", _off(member_of("backup")), needs=needs("backup")),
    "off-all-web": Drill(
        "All web hosts lose their power.", _off(groups("web")), hold=40, limit=None, needs=apart("edge", "web")
    ),
    "off-all-cache": Drill("All cache hosts lose their power.", _off(groups("cache")), needs=apart("edge", "cache")),
    "off-all-db": Drill(
        "All database hosts lose their power.", _off(groups("db", "dcs")), hold=40, limit=None,
        needs=apart("edge", "db", "dcs"),
    ),
    "stop-all-web": Drill("The application stops on all web hosts.", stopped, hold=20, limit=None),
    "cut-db-leader": Drill(
        "The database host that leads loses its network.", functools.partial(cut, leader), hold=40, limit=FAILOVER
    ),
    "cut-db-standby": Drill(
        "The synchronous standby loses its network.", functools.partial(cut, follower(synchronous=True)), hold=40
    ),
    "split-db-leader": Drill(
        "The database host that leads and those that vote on it lose sight of each other.",
        _split(leader, "dcs", "db", lost=True), hold=40, limit=LEASE,
    ),
    "split-web-cache": Drill(
        "The web hosts and the caches lose sight of each other.", _split(groups("web"), "cache"), hold=30,
        needs=apart("web", "cache"),
    ),
    # Who is sent to that web host is not served until it is healed.
    "split-web-db": Drill(
        "A web host and the database hosts lose sight of each other.", _split(member_of("web"), "db"), hold=30,
        limit=None, needs=apart("web", "db"),
    ),
    "split-edge-web": Drill(
        "The edge host that visitors come in by and the web hosts lose sight of each other.", _split(holder, "web"),
        hold=30, limit=None, needs=apart("edge", "web"),
    ),
    "split-edges": Drill("The edge hosts lose sight of each other.", _split(holder, "edge"), needs=shared_address),
    # What waits there keeps others away; it waits in vain.
    "hung-web": Drill("A web host's application hangs.", hung, hold=75, share=0.1, needs=needs("web", 2)),
    "memory-web": Drill("A web host has no memory for its application.", out_of_memory, needs=needs("web", 2)),
    "etcd-one": Drill("One etcd of those that vote on the leader is gone.", etcd_stopped(1)),
    "etcd-majority": Drill("Two of three etcd are gone.", etcd_stopped(2), hold=45, limit=None),
    "errors": Drill("The application answers everything with an error.", errors, hold=30, limit=None),
    "full-db": Drill(
        "The disk of the leader's write-ahead log is full.", full_wal, hold=30, limit=FAILOVER, whole=240
    ),
    "full-web": Drill("The disk of a web host is full.", full_web, needs=needs("web", 2)),
    "full-edge": Drill("The log disk of the edge host that visitors come in by is full.", full_logs),
    "switchover": Drill(
        "Another database host leads, as planned.",
        play("playbooks/switchover.yml", 300, "The database changes its leader"), hold=0, limit=5, planned=True,
    ),
    "reboot-all": Drill(
        "All hosts reboot, one after the other.",
        play("playbooks/upgrade_os.yml", REBOOT_SECONDS, "All hosts reboot in turn", base_reboot="always"),
        hold=0, planned=True,
    ),
    "upgrade": Drill(
        "The database goes to another version of PostgreSQL.", upgraded,
        hold=0, limit=30, whole=300, planned=True, before=older_postgres, named=True,
    ),
}  # fmt: skip


def chosen(names: list[str] | None) -> dict[str, Drill]:
    """The drills of these names, or all that need not be named.

    Raises LoadError, which lists the names there are, for one that there is not.
    """
    if unknown := [name for name in names or [] if name not in DRILLS]:
        raise LoadError(f"There is no drill {', '.join(unknown)}; there are {', '.join(DRILLS)}.")
    return {name: drill for name, drill in DRILLS.items() if (name in names if names else not drill.named)}
