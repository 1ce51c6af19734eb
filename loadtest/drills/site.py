"""The site under drill: who leads, who has the shared address, what is missing of it, and what its database keeps."""

from __future__ import annotations

import json
import re
import secrets
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from loadtest.drills.hosts import Hosts, Power
from loadtest.drills.witnesses import Reader
from loadtest.target import LoadError, Target
from loadtest.words import HOT

STATUS = Path(__file__).with_name("status_host.py")
LEADING = {"leader", "master"}  # Patroni's word for it since version 4, and before
HEALTHY = {"running", "streaming"}
LOOK = 1.0  # seconds between two looks
WARM_LIMIT = 60.0
AMCHECK_LIMIT = 30.0  # until a standby has the extension
T = TypeVar("T")

Member = dict[str, Any]


@dataclass
class Site:
    """The hosts, the lab's power over them, and what happened in the drill that runs."""

    target: Target
    hosts: Hosts
    power: Power
    reader: Reader
    marks: list[tuple[float, str]] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    broken: float = 0
    victims: list[str] = field(default_factory=list)
    away: set[str] = field(default_factory=set)
    # The edge host that visitors come in by when a drill begins, and whether it is the one that is lost.
    door: str = ""
    door_lost: bool = False

    def breaks(self, what: str, *victims: str, reachable: bool = False) -> None:
        """Whatever comes next breaks something on hosts, which may be `reachable` still: this is its moment."""
        self.broken = time.time()
        self.victims = list(victims)
        self.away = set() if reachable else set(victims)
        self.door_lost = self.door in self.away
        self.mark(what)

    def begins(self) -> None:
        """Nothing has happened yet."""
        self.marks, self.complaints, self.victims, self.away = [], [], [], set()
        self.door = self.holder()

    def mark(self, text: str) -> None:
        """Something happened now."""
        self.marks.append((time.time(), text))

    # The database

    def members(self) -> list[Member]:
        """The database's members, as the first of them tells that answers; none when nobody does."""
        # Who was cut off knows what was before, for a while.
        for name in sorted(self.target.groups["db"], key=lambda name: name in self.victims):
            if name in self.away:
                continue
            try:
                url = f"http://{self.target.addresses[name]}:8008/cluster"
                said = self.hosts.run(name, "curl", "--silent", "--max-time", "3", url, limit=8)
                return list(json.loads(said)["members"])
            except (LoadError, ValueError, KeyError):
                continue
        return []

    def leader(self) -> str:
        """Who leads the database; empty when nobody does."""
        found = (m["name"] for m in self.members() if m["role"] in LEADING and m["state"] in HEALTHY)
        return next(found, "")

    def standby(self, *, synchronous: bool) -> str:
        """A standby: the one that has every acknowledged write, or another one; LoadError when there is none."""
        for member in self.members():
            if member["role"] not in LEADING and (member["role"] == "sync_standby") == synchronous:
                return str(member["name"])
        raise LoadError(f"The database has no {'synchronous' if synchronous else 'further'} standby: {self.members()}")

    def query(self, statement: str, database: str = "") -> str:
        """Ask the leader as its superuser."""
        return self._ask(self._leader(), statement, database)

    def _ask(self, name: str, statement: str, database: str = "") -> str:
        return self.hosts.run(
            name, "runuser", "-u", "postgres", "--", "psql", "--no-psqlrc", "--quiet", "-tA", "-v",
            "ON_ERROR_STOP=1", "-d", database or self.target.application, "-c", statement, limit=120,
        ).strip()  # fmt: skip

    def _leader(self) -> str:
        if not (name := self.leader()):
            raise LoadError("No database host leads.")
        return name

    def new_table(self) -> None:
        """A table for the writers, empty, the application's own."""
        self.query("DROP TABLE IF EXISTS drill_writes")
        owner = self.target.application
        self.query(f"SET ROLE {owner}; CREATE TABLE drill_writes (id text PRIMARY KEY, at timestamptz NOT NULL)")

    def forget_table(self) -> None:
        """The database is as it was before any drill."""
        self.query("DROP TABLE IF EXISTS drill_writes; DROP EXTENSION IF EXISTS amcheck")

    def written(self) -> set[str]:
        """The keys of all writes that the leader knows."""
        return set(self.query("SELECT id FROM drill_writes").split())

    def checksum_failures(self) -> dict[str, int]:
        """How many pages PostgreSQL has found damaged, by host."""
        return {name: self._checksum_failures(name) for name in self.target.groups["db"]}

    def _checksum_failures(self, name: str) -> int:
        return int(self._ask(name, "SELECT coalesce(sum(checksum_failures), 0) FROM pg_stat_database"))

    def damage(self, failures_before: dict[str, int]) -> list[str]:
        """What is wrong with the data, on every host: pg_amcheck's words, and pages whose checksum does not fit."""
        self.query("CREATE EXTENSION IF NOT EXISTS amcheck")
        with ThreadPoolExecutor() as pool:
            found = pool.map(lambda one: self._damage_on(*one), failures_before.items())
            return [fault for faults in found for fault in faults]

    def _damage_on(self, name: str, failures_before: int) -> list[str]:
        if not within(AMCHECK_LIMIT, lambda: self._ask(name, "SELECT 1 FROM pg_extension WHERE extname = 'amcheck'")):
            return [f"{name} has not got amcheck, which was made on the leader, within {AMCHECK_LIMIT:.0f} s"]
        try:
            version = int(self._ask(name, "SHOW server_version_num")) // 10000
            tool = f"/usr/lib/postgresql/{version}/bin/pg_amcheck"
            check = ("runuser", "-u", "postgres", "--", tool, "--heapallindexed", self.target.application)
            self.hosts.run(name, *check, limit=300)
            failures = self._checksum_failures(name)
        except LoadError as error:
            return [f"pg_amcheck on {error}"]
        # Who has copied the data anew counts from the beginning.
        new = failures - failures_before if failures >= failures_before else failures
        return [f"{new} pages whose checksum does not fit on {name}"] if new else []

    # The edge

    def holder(self) -> str:
        """The edge host that visitors come in by."""
        edges = self.target.groups["edge"]
        if not self.target.shared:
            return edges[0]
        found = [name for name in edges if name not in self.away and self._has_shared(self._status(name, []))]
        if len(found) != 1:
            raise LoadError(f"{self.target.shared} is on {found or 'no edge host'}, not on one.")
        return found[0]

    def _has_shared(self, status: dict[str, Any]) -> bool:
        return re.search(rf"(^|\s){re.escape(self.target.shared)}/", status["addresses"]) is not None

    def warm(self) -> None:
        """Ask every edge host for the hot pages until it has them all in its cache.

        Raises LoadError when it has not after a minute.
        """
        pages = ["/", *(f"/profile/{number}/" for number in range(1, HOT + 1))]
        with ThreadPoolExecutor(4) as pool:
            for name in self.target.groups["edge"]:
                until = time.monotonic() + WARM_LIMIT
                asked = [(page, self.target.addresses[name], until) for page in pages]
                cold = list(pool.map(lambda one: self._until_hit(*one), asked))
                if left := [page for page in cold if page]:
                    raise LoadError(f"{name} does not keep {left[0]} in its cache, nor {len(left) - 1} others.")

    def _until_hit(self, page: str, address: str, until: float) -> str:
        """The page and its last answer, if it is no hit in the end."""
        last = ""

        def hit() -> bool:
            nonlocal last
            answer = self.reader.get(page, address)
            last = f"{answer.status} {answer.headers['Cache-Status'] or ''}".strip()
            return answer.status == 200 and "; hit" in last

        return "" if within(until - time.monotonic(), hit) else f"{page} ({last})"

    # All of it

    def missing(self, names: list[str] | None = None) -> dict[str, list[str]]:
        """What is missing of the whole cluster, by host; the hosts looked at are all, or those given."""
        some = list(self.target.addresses) if names is None else names
        with ThreadPoolExecutor(len(some) or 1) as pool:
            found = dict(zip(some, pool.map(self._missing_on, some), strict=True))
        if self.target.shared and not any(found.values()):
            try:
                self.holder()
            except LoadError as error:
                found[some[0]] = [str(error)]
        return {name: faults for name, faults in found.items() if faults}

    def wait_until_whole(self, limit: float) -> dict[str, list[str]]:
        """Wait until nothing is missing, and return what still is after `limit` seconds."""
        left: dict[str, list[str]] = {}

        def whole() -> bool:
            nonlocal left
            left = self.missing(list(left) or None)
            # Hosts that were well may not be so any more when the last one is.
            left = left or self.missing()
            return not left

        within(limit, whole, LOOK)
        return left

    def units(self, name: str) -> list[str]:
        """The units that a host has to run for its groups."""
        groups = self.target.groups
        edge = ["nginx", "varnish", *(["keepalived"] if self.target.shared else [])]
        of = {
            "dcs": ["etcd"],
            "db": ["patroni@*"],
            "cache": ["memcached"],
            "web": [self.target.application],
            "edge": edge,
        }
        return [unit for group, units in of.items() if name in groups[group] for unit in units]

    def _missing_on(self, name: str) -> list[str]:
        try:
            status = self._status(name, self.units(name))
        except LoadError as error:
            return [str(error)]
        found = [f"{unit} is {state[0]}" for unit, state in status["units"].items() if set(state) != {"active"}]
        if "etcd" in status and not status["etcd"]:
            found.append("etcd is not healthy")
        if "members" in status:
            found += incomplete(status["members"], self.target.groups["db"])
        if "copying" in status:
            idle = sorted(set(self.target.groups["db"]) - {name, *status["copying"]})
            found += [f"the database's {standby} copies nothing" for standby in idle]
        if name in self.target.groups["edge"]:
            found += self._missing_of_edge(name)
        return found

    def _missing_of_edge(self, name: str) -> list[str]:
        found = []
        for path in ("/-/ready/", f"/?unseen={secrets.token_hex(8)}"):
            try:
                answer = self.reader.get(path, self.target.addresses[name])
            except OSError as error:
                return [f"does not answer: {error}"]
            if answer.status != 200:
                found.append(f"{path} is answered with {answer.status}")
        return found

    def _status(self, name: str, units: list[str]) -> dict[str, Any]:
        script = STATUS.read_text()
        said = self.hosts.run(name, "python3", "-c", script, *units, self.target.addresses[name])
        return dict(json.loads(said))


def incomplete(members: list[Member], names: list[str]) -> list[str]:
    """What is missing of a database cluster: members are as Patroni tells of them, `names` are all there have to be."""
    known = {member["name"]: member for member in members}
    leaders = [member for member in members if member["role"] in LEADING]
    found = [f"the database misses {name}" for name in names if name not in known]
    if len(leaders) != 1:
        return [*found, f"{len(leaders)} members lead the database"]
    for name, member in known.items():
        if member["state"] not in HEALTHY:
            found.append(f"the database's {name} is {member['state']}")
        elif member.get("timeline") != leaders[0].get("timeline"):
            found.append(f"the database's {name} is on another timeline")
    if len(names) > 1 and not any(member["role"] == "sync_standby" for member in members):
        found.append("the database has no synchronous standby")
    return found


def within(limit: float, condition: Callable[[], T], every: float = 0.3) -> T | None:
    """The first truthy result of a condition, or None after `limit` seconds; connections that fail are "not yet"."""
    deadline = time.monotonic() + limit
    waiting = threading.Event()
    while True:
        try:
            if result := condition():
                return result
        except (OSError, LoadError):
            pass
        if time.monotonic() > deadline:
            return None
        waiting.wait(every)
