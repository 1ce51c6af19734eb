"""More load than a cluster can answer, in both models: what it does, and whether it is as before afterwards."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from loadtest import load
from loadtest.hits import Probe
from loadtest.ladder import FINALE, Ladder, Step, machine, say
from loadtest.load import Load
from loadtest.results import histogram, merged, percentile, summary
from loadtest.target import LoadError, Target

# What the plan says of a request that was refused as it should be.
SHED = "told to come back later"
CONNECTIONS = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
LATENESS = "lateness of the generator"
CALM = Load(users=2, seconds=15, warmup=3)
UNITS = "nginx varnish memcached 'postgresql@*' %(application)s"


@dataclass
class Watch:
    """What a cluster does to itself under load: the longest queues, the most connections to the database."""

    target: Target
    queues: Counter[str] = field(default_factory=Counter)
    connections: int = 0

    @contextmanager
    def watching(self, every: float = 1.0) -> Iterator[None]:
        """Look `every` so many seconds while the block runs."""
        over = threading.Event()

        def watch() -> None:
            while not over.wait(every):
                self.look()

        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            yield
        finally:
            over.set()
            watcher.join()

    def look(self) -> None:
        for name, count in self.at_web_hosts().items():
            self.queues[name] = max(self.queues[name], count)
        self.connections = max(self.connections, self.database(CONNECTIONS))

    def at_web_hosts(self) -> Counter[str]:
        """Requests that the edge hosts have at each web host just now, worked on or waiting."""
        hosts, names = self.target.hosts(), {self.target.addresses[name]: name for name in self.target.groups["web"]}
        found: Counter[str] = Counter()
        for edge in self.target.groups["edge"]:
            peers = hosts[edge].check_output("ss --no-header --numeric --tcp state established dport = :3031")
            for line in peers.splitlines():
                address = line.split()[-1].rsplit(":", 1)[0].strip("[]").removeprefix("::ffff:")
                found[names[address]] += 1
        return found

    def database(self, query: str) -> int:
        """The number that a query to the first database host gives."""
        host = self.target.hosts()[self.target.groups["db"][0]]
        return int(host.check_output("runuser -u postgres -- psql --no-psqlrc -Atc %s", query))

    def started(self) -> dict[str, str]:
        """When the services of every host were started, and how often by themselves."""
        asked = "systemctl show --property=Id,ActiveEnterTimestampMonotonic,NRestarts,MainPID " + UNITS
        return {
            name: host.check_output(asked % {"application": self.target.application})
            for name, host in self.target.hosts().items()
        }

    def left_out(self) -> int:
        """How often a balancer has left out a web host that it took for dead, as far as its log goes back."""
        hosts = self.target.hosts()
        counts = (
            hosts[edge].run("grep -c 'temporarily disabled' /var/log/nginx/error.log")
            for edge in self.target.groups["edge"]
        )
        return sum(int(count.stdout) for count in counts)

    def until_idle(self, limit: float = 120.0) -> float:
        """Wait until nothing waits any more; returns the seconds that took. Raises LoadError after `limit`."""
        began = time.monotonic()
        while self.at_web_hosts().total():
            if time.monotonic() - began > limit:
                raise LoadError(f"Requests still wait {limit:.0f} s after the load has ended.")
            time.sleep(0.2)
        return round(time.monotonic() - began, 1)


def measure(climb: Ladder, users: int, seconds: int) -> dict[str, Any]:
    """A calm cluster, `users` without a pause, twice the visits that these were answered, and calm again.

    Writes climb.file. Raises LoadError when the cluster can't be reached, or never comes to rest.
    """
    step = replace(FINALE, web=min(FINALE.web, len(climb.target.groups["web"])), users=users)
    climb.reach(step)
    watch = Watch(climb.target)
    before, left_out = watch.started(), watch.left_out()
    found: dict[str, Any] = {"machine": machine(), "web_hosts": step.web, "users": users}
    found["calm before"] = _phase(climb, step, CALM)
    closed = found["closed"] = _phase(climb, step, Load(users, seconds=seconds, warmup=climb.settings.warmup))
    if not closed["visits_per_second"]:
        raise LoadError(f"{users} users got no answer: {closed['failed']}")
    watch.until_idle()
    found["open"] = _phase(climb, step, Load(rate=round(2 * closed["visits_per_second"], 1), seconds=seconds))
    found["seconds_until_idle"] = watch.until_idle()
    found["calm after"] = _phase(climb, step, CALM)
    found["same_processes"] = watch.started() == before
    found["web_hosts_taken_for_dead"] = watch.left_out() - left_out
    found["database_connections_allowed"] = watch.database("SHOW max_connections")
    climb.file.parent.mkdir(parents=True, exist_ok=True)
    climb.file.write_text(json.dumps(found, indent=1))
    return found


def _phase(climb: Ladder, step: Step, length: Load) -> dict[str, Any]:
    watch, probe = Watch(climb.target), Probe(climb.target)
    with (
        load.traffic(climb.target, step.rung, climb.plan_of(step), length) as traffic,
        watch.watching(),
        probe.running(length.seconds),
    ):
        traffic.wait()
    classes = summary(traffic.recorded)
    hits = merged(times for outcome, times in histogram(traffic.recorded).items() if outcome in ("hit", "stale"))
    failures: Counter[str] = Counter()
    for entry in classes.values():
        failures.update(entry["failures"])
    shed = failures.pop(SHED, 0)
    length_of_it = traffic.recorded["seconds"]
    late = merged(traffic.recorded["classes"].get(LATENESS, {"times": {}})["times"].values())
    found = {
        "visits_per_second": round(classes.get("home", {"requests": 0})["requests"] / length_of_it, 1),
        # Of the open model, by the generator's own clock: how many it began, and how late.
        "visits_sent_per_second": round(sum(count for _, count in late) / length_of_it, 1),
        "sent_late_p99": percentile(late, 0.99),
        "answered": sum(entry["requests"] for entry in classes.values()),
        "shed": shed,
        "failed": failures,
        "hits": {f"p{share:g}": percentile(hits, share / 100) for share in (50, 99)},
        "probe": probe.result,
        "longest_queue": watch.queues,
        "database_connections": watch.connections,
        "generator_cpu_seconds": traffic.recorded["cpu_seconds"],
        "classes": classes,
    }
    say(f"    {found['answered']} answered, {shed} told to come back, {failures.total()} failed {dict(failures)}; "
        f"hits {found['probe'].get('p50')} ms, longest queues {dict(watch.queues)}")  # fmt: skip
    return found
