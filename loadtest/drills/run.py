"""Drills one after the other: breaks, watches, heals, watches again, checks the data, and keeps what was seen."""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from loadtest import load
from loadtest.drills import figures
from loadtest.drills.catalogue import ON_EDGE, Drill, chosen
from loadtest.drills.figures import CACHED, Event
from loadtest.drills.hosts import Hosts, power
from loadtest.drills.site import LOOK, Site
from loadtest.drills.witnesses import Reader, Writers, asking
from loadtest.ladder import FAULTS, load_data, machine, say
from loadtest.load import Load, Plan
from loadtest.results import summary
from loadtest.target import LoadError, Target

RUNG = "cached"
# Seconds under load before anything is broken, and after everything is whole again.
CALM = 5.0
# A leader renews its lease within that (patroni_loop_wait): a fixed moment would always meet the same age of it.
PHASE = 12.0
# So long everything has to be served before it counts as served again.
QUIET = 4.0
# However long that takes, healing begins after so many seconds.
LONGEST = 90.0
# Seconds that a drill takes beside that, at most.
AROUND = 600


class NotWhole(LoadError):
    """A drill has left something broken, or never began: those after it would measure nothing."""


def site_of(target: Target) -> Site:
    """The site of a target, if drills may and can take place there.

    Raises LoadError for an inventory in which some host can not be lost, and for hosts that are not a lab's.
    """
    if short := lacking(target):
        raise LoadError(
            f"{target.inventory} can not lose any host: {'; '.join(short)}. inventories/ha is one that can."
        )
    return Site(target, Hosts(target), power(target), Reader(target))


def lacking(target: Target) -> list[str]:
    """What a cluster lacks that is to survive the loss of any host."""
    wanted = {"db": 2, "dcs": 3, "web": 2, "cache": 2, "edge": 1}
    return [
        f"the group {group} has {len(target.groups[group]) or 'no'} host{'s' * (len(target.groups[group]) > 1)}, and "
        f"drills need {count}"
        for group, count in wanted.items()
        if len(target.groups[group]) < count
    ]


@contextmanager
def prepared(site: Site, plan: Plan, profiles: int) -> Iterator[None]:
    """The site is whole and has what visitors need; afterwards it is as it was.

    Raises NotWhole when something is missing.
    """
    if missing := site.wait_until_whole(30):
        raise NotWhole(f"The site is not whole, and no drill has begun: {told(missing)}")
    load_data(site.target, plan, profiles=profiles)
    try:
        yield
    finally:
        site.away.clear()
        site.wait_until_whole(60)
        try:
            site.forget_table()
            load_data(site.target, plan, accounts=0)
        except FAULTS as error:
            say(f"What the drills have left in the database could not be removed: {error}")


def told(missing: dict[str, list[str]]) -> str:
    """What is missing, in a sentence."""
    return "; ".join(f"{name}: {', '.join(faults)}" for name, faults in missing.items())


def measure(
    target: Target,
    plan: Plan,
    *,
    names: list[str] | None,
    profiles: int,
    rate: float,
    repeats: int,
    hold: float,
    resume: bool,
    file: Path,
) -> bool:
    """Run drills, all or those of `names`, `repeats` times each; writes `file` after each. Whether all were passed.

    What is broken stays so for `hold` seconds at least. With `resume` the runs that the file has of the same cluster
    count. Raises LoadError when a drill can not begin.
    """  # fmt: skip
    if hold > (most := load.LONGEST - AROUND):
        raise LoadError(f"--hold {hold:.0f}: visitors come for so long that {most:.0f} s are the most.")
    drills = {name: replace(drill, hold=max(drill.hold, hold)) for name, drill in chosen(names).items()}
    unfit = {name: lack for name, drill in drills.items() if (lack := drill.needs(target))}
    if names and unfit:
        raise LoadError("; ".join(f"{name} needs {lack}" for name, lack in unfit.items()))
    site = site_of(target)
    for name, lack in unfit.items():
        say(f"{name} is left out: it needs {lack}")
    results = _results(target, rate, hold, file, resume=resume)
    todo = [
        (number, name)
        for number in range(1, repeats + 1)
        for name in drills
        if name not in unfit and not any(run["drill"] == name and run["repeat"] == number for run in results["runs"])
    ]
    with prepared(site, plan, profiles):
        for place, (number, name) in enumerate(todo, start=1):
            say(f"[{place}/{len(todo)}] {name}, round {number}: {drills[name].says}")
            one: dict[str, Any] = {"drill": name, "repeat": number, "says": drills[name].says}
            try:
                one |= run(site, drills[name], plan, rate)
            except FAULTS as error:
                one |= {"error": str(error), "passed": False}
                say(f"    FAILED: {error}")
            results["runs"].append(one)
            save(file, results)
            if missing := site.wait_until_whole(30):
                raise NotWhole(f"After {name} the site is not whole, and no further drill begins: {told(missing)}")
    return all(one["passed"] for one in results["runs"])


def _results(target: Target, rate: float, hold: float, file: Path, *, resume: bool) -> dict[str, Any]:
    """Results without runs, or those of a file with its runs. Raises LoadError for another cluster's."""
    same = {"groups": target.groups, "caps": target.caps, "visits_per_second": rate, "hold_seconds": hold}
    found: dict[str, Any] = {"machine": machine(), **same, "runs": []}
    if resume and file.exists():
        before = json.loads(file.read_text())
        if {name: before.get(name) for name in same} != same:
            raise LoadError(f"{file} has drills of another cluster, rate or hold: leave --resume out, or --reports.")
        found["runs"] = [one for one in before["runs"] if "error" not in one]
        say(f"{file} has {len(found['runs'])} runs; the others are added.")
    return found


def save(file: Path, results: dict[str, Any]) -> None:
    """Write all results, at once."""
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_suffix(".part")
    part.write_text(json.dumps(results, separators=(",", ":")))
    part.rename(file)


def run(site: Site, drill: Drill, plan: Plan, rate: float) -> dict[str, Any]:
    """One drill, from a whole site to a whole site; returns what was seen, and `faults` if it was not passed.

    Raises LoadError when it could not be carried out.
    """
    drill.before(site)
    site.begins()
    site.new_table()
    damaged_before = site.checksum_failures()
    site.warm()
    whole: float | None = None
    began = time.strftime("%Y-%m-%d %H:%M:%S")
    with (
        load.traffic(site.target, RUNG, plan, Load(rate=rate, each=True)) as traffic,
        site.reader.reading() as reads,
        Writers(site.hosts).writing() as writers,
        asking(lambda: site.leader() or figures.NOBODY, lambda name: site.mark(f"{name} leads")),
    ):
        time.sleep(CALM + random.uniform(0, PHASE))
        with drill.breaks(site):
            if drill.by_itself:
                whole = _whole_since(site, drill)
            _watch(site, drill, reads, writers.events)
            healing = time.time()
            site.mark("healing")
        site.away.clear()
        missing = site.wait_until_whole(drill.whole)
        whole = None if missing else whole or time.time()
        site.marks += [(whole, "whole")] if whole else []
        time.sleep(CALM)
    end = time.time()
    moments: dict[str, float | None] = {"healing": healing, "whole": whole, "end": end}
    found = {
        "began": began,
        "expected": {
            "limit": drill.limit,
            "share": drill.share,
            "planned": drill.planned,
            "in_flight": ON_EDGE if site.door_lost else drill.in_flight,
            "whole": drill.whole,
        },
        "moments": {name: None if at is None else round(at - site.broken, 2) for name, at in moments.items()},
        "marks": [(round(at - site.broken, 2), text) for at, text in sorted(site.marks)],
        "missing": [told(missing)] if missing else [],
        "complaints": site.complaints,
        **_seen(site.broken, healing, end, traffic.recorded, reads, writers.events),
        **_data(site, writers.acknowledged, damaged_before),
    }
    found["faults"] = figures.faults(found, found["expected"])
    found["passed"] = not found["faults"]
    say(f"    {'passed' if found['passed'] else 'FAILED: ' + '; '.join(found['faults'])}; {in_short(found)}")
    return found


def _whole_since(site: Site, drill: Drill) -> float | None:
    """Since when nothing is missing on the hosts that something was done to; None when something is to the end."""
    over = threading.Event()
    since: float | None = None
    while time.time() - site.broken < (drill.hold if since else drill.whole):
        missing = site.missing(site.victims)
        since = None if missing else since or time.time()
        over.wait(LOOK)
    return since


def _watch(site: Site, drill: Drill, *all_events: list[Event]) -> None:
    """Watch what is broken until everything has been served for a while again, or nothing more is to be expected."""
    over = threading.Event()
    while True:
        now = time.time()
        held = now - site.broken >= drill.hold
        if held and (drill.limit is None or drill.share or all(_quiet(list(events), now) for events in all_events)):
            return
        if now - site.broken > max(drill.hold, LONGEST):
            return
        over.wait(0.2)


def _quiet(events: list[Event], now: float) -> bool:
    """Whether answers have come, and nothing has failed, for a while."""
    late = [event for event in events if event.ended > now - QUIET]
    return any(e.began > now - QUIET for e in late) and all(e.failure is None for e in late)


def _seen(
    broken: float, healing: float, end: float, recorded: dict[str, Any], reads: list[Event], writes: list[Event]
) -> dict[str, Any]:
    """What visitors, readers and writers met with, in times from the break."""

    def since(events: list[Event]) -> list[Event]:
        return [Event(one.began - broken, one.ended - broken, one.failure) for one in events]

    visits = {
        name: since([Event(*each[2:]) for each in recorded["each"] if each[0] == name])
        for name in recorded["classes"]
        if not name.startswith("lateness")
    }
    cached = [event for name in CACHED for event in visits.get(name, [])]
    every = {"cached": cached, "reads": since(reads), "writes": since(writes)}
    others = [event for name, events in visits.items() if name not in CACHED for event in events]
    return {
        "classes": summary(recorded),
        "services": {name: figures.service(events, healing - broken, end - broken) for name, events in every.items()},
        "cached_failures": [round(event.began, 2) for event in cached if event.failure is not None],
        "time_line": {name: figures.by_second(events) for name, events in (every | {"others": others}).items()},
    }


def _data(site: Site, acknowledged: set[str], damaged_before: dict[str, int]) -> dict[str, Any]:
    """Whether everything that was acknowledged is there, and undamaged."""
    kept = site.written()
    return {
        "acknowledged": len(acknowledged),
        "lost": len(acknowledged - kept),
        "lost_keys": sorted(acknowledged - kept)[:20],
        "integrity": site.damage(damaged_before),
    }


def in_short(found: dict[str, Any]) -> str:
    """What was seen in a drill, on a line."""
    parts = [f"{name} {kind['failed']} failed, pause {kind['pause']:.1f} s" for name, kind in found["services"].items()]
    whole = found["moments"]["whole"]
    parts.append("not whole" if whole is None else f"whole after {whole:.1f} s")
    return ", ".join([*parts, f"{found['lost']} of {found['acknowledged']} acknowledged writes lost"])
