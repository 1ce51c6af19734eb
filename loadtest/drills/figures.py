"""What is made of what visitors, readers and writers met with in a drill; times in seconds, counted from the break."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable
from typing import Any, NamedTuple

# What the cache has had when a drill begins.
CACHED = ("home", "hot profile")
# Who leads the database when no host does.
NOBODY = "nobody"
# A shorter pause between two answers is none: a busy machine makes such.
NOTICEABLE = 2.0


class Event(NamedTuple):
    """A request or a write: when it began and ended, and why it failed, if it did."""

    began: float
    ended: float
    failure: str | None = None


def service(events: Iterable[Event], healed: float, end: float) -> dict[str, Any]:
    """How one kind of answers went on, from the break at 0 to `end`: `healed` is when healing began.

    requests, failed:   after the break
    noticed:            the first failure, or None
    served:             when it was served again for good before healing began: 0 without failure, None if it was not
    served_after_healing: the same from `healed` to the end, counted from then
    pause:              the longest time without an answer
    """
    known = sorted(event for event in events if event.ended >= 0)
    failed = [event for event in known if event.failure is not None]
    return {
        "requests": len(known),
        "failed": len(failed),
        "noticed": round(min(event.ended for event in failed), 2) if failed else None,
        "served": served([event for event in known if event.began < healed], 0, healed),
        "served_after_healing": served([event for event in known if event.ended > healed], healed, end),
        "pause": longest_pause(known, 0, end)[0],
        "failures": dict(Counter(str(event.failure) for event in failed).most_common(5)),
    }


def served(events: list[Event], begin: float, end: float) -> float | None:
    """Seconds from `begin` until answers came for good, 0 when they never failed, None when they still did at `end`."""
    answered = sorted(event.ended for event in events if event.failure is None and begin <= event.ended <= end)
    moment = begin
    if failing := [event.began for event in events if event.failure is not None and event.ended >= begin]:
        last = max(*failing, begin)
        after = [
            event.ended for event in events if event.failure is None and event.began >= last and event.ended <= end
        ]
        if not after:
            return None
        moment = min(after)
    if not answered or end - answered[-1] > NOTICEABLE * 3:
        return None
    pause, until = longest_pause(events, begin, end)
    return round(max(moment - begin, until - begin if pause > NOTICEABLE else 0), 2)


def longest_pause(events: Iterable[Event], begin: float, end: float) -> tuple[float, float]:
    """The longest time between `begin` and `end` without an answer, and when it was over."""
    moments = sorted(event.ended for event in events if event.failure is None and begin < event.ended < end)
    pauses = [(later - earlier, later) for earlier, later in zip([begin, *moments], [*moments, end], strict=True)]
    pause, until = max(pauses)
    return round(pause, 2), round(until, 2)


def by_second(events: Iterable[Event]) -> dict[str, list[int]]:
    """Answered and failed ones, by the second in which they ended."""
    found: dict[int, list[int]] = {}
    for event in events:
        found.setdefault(int(event.ended // 1), [0, 0])[event.failure is not None] += 1
    return {str(second): found[second] for second in sorted(found)}


def faults(run: dict[str, Any], expected: dict[str, Any]) -> list[str]:
    """What of a run is not as it has to be, in words: nothing when the drill is passed.

    `expected`: `limit`, seconds in which everything is served again while it is still broken, None where nothing but
    cached pages is expected until healing begins; `share` of reads and of writes that may fail all the while, none if
    it is not there; `planned`, whether the longest pause counts in place of the time from the break, none if it is not
    there; `in_flight`, seconds after the break in which requests for cached pages may have begun that fail, None for
    none; `whole`, seconds in which everything is redundant again.
    """
    found: list[str] = []
    if run["lost"]:
        found.append(f"{run['lost']} of {run['acknowledged']} acknowledged writes are lost")
    found += run["integrity"]
    in_flight = expected["in_flight"]
    stray = [began for began in run["cached_failures"] if in_flight is None or began > in_flight]
    if stray:
        found.append(
            f"{len(stray)} requests for cached pages failed, the last begun {max(stray):.1f} s after the break"
        )
    limit, share = expected["limit"], expected.get("share", 0)
    for name, kind in run["services"].items():
        took = kind["pause"] if expected.get("planned") else kind["served"]
        late = took is None or took > (limit or 0)
        if limit is not None and late and not (share and kind["failed"] <= share * kind["requests"]):
            found.append(f"{name}: served again after {_seconds(took)}, not within {limit:.0f} s")
        if kind["served_after_healing"] is None:
            found.append(f"{name}: not served again after healing")
    if run["moments"]["whole"] is None:
        found.append(f"not whole again within {expected['whole']:.0f} s: {'; '.join(run['missing'])}")
    return [*found, *run["complaints"]]


def _seconds(value: float | None) -> str:
    return "no time" if value is None else f"{value:.1f} s"


HEAD = (
    "drill", "what happens", "passed", "cached failed", "others failed", "pause of cached pages", "leader given up",
    "reads served again", "writes served again", "pause of writes", "whole again", "writes lost",
)  # fmt: skip


def rows(results: dict[str, Any]) -> list[list[str]]:
    """A line for each drill: sums of requests and writes; median and worst of times, in seconds."""
    drills = list(dict.fromkeys(run["drill"] for run in results["runs"]))
    return [_row(drill, [run for run in results["runs"] if run["drill"] == drill]) for drill in drills]


def _row(drill: str, runs: list[dict[str, Any]]) -> list[str]:
    good = [run for run in runs if "error" not in run]
    cached = [run["classes"].get(name, {}) for run in good for name in CACHED]
    others = [entry for run in good for name, entry in run["classes"].items() if name not in CACHED]
    return [
        drill,
        runs[0]["says"],
        f"{sum(run['passed'] for run in runs)} of {len(runs)}",
        _failed(cached),
        _failed(others),
        _spread(run["services"]["cached"]["pause"] for run in good if "cached" in run["services"]),
        _spread(next((at for at, text in run["marks"] if at > 0 and text == f"{NOBODY} leads"), None) for run in good),
        _spread(_until_served(run, "reads") for run in good),
        _spread(_until_served(run, "writes") for run in good),
        _spread(run["services"]["writes"]["pause"] for run in good if "writes" in run["services"]),
        _spread(run["moments"]["whole"] for run in good),
        f"{sum(run['lost'] for run in good)} of {sum(run['acknowledged'] for run in good):,}",
    ]


def _until_served(run: dict[str, Any], name: str) -> float | None:
    """While it was broken, where that was expected; else from healing on."""
    kind = run["services"].get(name, {})
    expected = run["expected"]
    value: float | None = kind.get(
        "pause" if expected.get("planned") else "served_after_healing" if expected["limit"] is None else "served"
    )
    return value


def _failed(entries: list[dict[str, Any]]) -> str:
    failed = sum(entry.get("failed", 0) for entry in entries)
    return f"{failed:,} of {failed + sum(entry.get('requests', 0) for entry in entries):,}"


def _spread(values: Iterable[float | None]) -> str:
    known = [value for value in values if value is not None]
    if not known:
        return "-"
    if len(known) == 1:
        return f"{known[0]:.1f}"
    return f"{statistics.median(known):.1f} ({max(known):.1f})"


def markdown(results: dict[str, Any]) -> str:
    """The table of docs/reliability.md."""
    lines = [HEAD, ["---"] * len(HEAD), *rows(results)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
