"""What is made of the recorder's counts: times are in milliseconds."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


def failures(recorded: dict[str, Any]) -> str:
    """What failed, and how often; empty when nothing did."""
    found = [
        f"{name}: {text} ({count} times)"
        for name, entry in recorded["classes"].items()
        for text, count in entry["failures"].items()
    ]
    return "; ".join(found)


def merged(times: Iterable[dict[str, int]]) -> list[tuple[float, int]]:
    """Times in milliseconds with how often each was seen, in order."""
    counts: dict[float, int] = {}
    for some in times:
        for time_, count in some.items():
            counts[float(time_)] = counts.get(float(time_), 0) + count
    return sorted(counts.items())


def percentile(times: list[tuple[float, int]], share: float) -> float | None:
    """The time that `share` (0 to 1) of all requests do not exceed, in milliseconds; None when there are none."""
    left = share * sum(count for _, count in times)
    for time_, count in times:
        left -= count
        if left <= 0:
            return time_
    return None


def described(times: list[tuple[float, int]]) -> dict[str, Any]:
    """Requests, mean and percentiles in milliseconds."""
    requests = sum(count for _, count in times)
    mean = sum(time_ * count for time_, count in times) / requests if requests else None
    return {
        "requests": requests,
        "mean": None if mean is None else round(mean, 2),
        **{f"p{share:g}": percentile(times, share / 100) for share in (50, 95, 99)},
    }


def summary(recorded: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """By class: requests, failed ones and why, mean and percentiles; without the generator's own lateness."""
    return {
        name: {
            **described(merged(entry["times"].values())),
            "failed": sum(entry["failures"].values()),
            "failures": entry["failures"],
        }
        for name, entry in recorded["classes"].items()
        if not name.startswith("lateness")
    }


def hits_of(recorded: dict[str, Any]) -> float:
    """The share of the visitors' answered requests that came from the cache, fresh or stale."""
    outcomes = {outcome: sum(times.values()) for outcome, times in histogram(recorded).items()}
    return round((outcomes.get("hit", 0) + outcomes.get("stale", 0)) / max(sum(outcomes.values()), 1), 4)


def histogram(recorded: dict[str, Any]) -> dict[str, dict[str, int]]:
    """By what the cache did: how often each time, in milliseconds, was seen."""
    outcomes: dict[str, list[dict[str, int]]] = {}
    for entry in recorded["classes"].values():
        for outcome, times in entry["times"].items():
            outcomes.setdefault(outcome, []).append(times)
    return {outcome: {f"{time_:g}": count for time_, count in merged(times)} for outcome, times in outcomes.items()}
