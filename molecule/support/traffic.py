"""Visitors who come and go while something is done to the cluster."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from loadtest import load
from loadtest.ladder import load_data
from loadtest.load import Load, Plan
from loadtest.results import failures, summary
from loadtest.target import Target
from loadtest.target import load as read_target

PROFILES = 200
PLAN = Plan(arguments=("--profiles", str(PROFILES), "--mix", "spoken"), password=secrets.token_urlsafe(24))
# Visits a second: enough that somebody is always on his way, and little beside the work that is done meanwhile.
LOAD = Load(rate=4)
CLASSES = {"home", "hot profile", "profile", "login page", "login", "create", "home as member"}


@dataclass(frozen=True)
class Visits:
    """What visitors of a rung's address met with, in the recorder's form."""

    rung: str
    recorded: dict[str, Any]

    def assert_nobody_was_turned_away(self) -> None:
        """Every request of every class was answered with what it must contain."""
        failed = failures(self.recorded)
        assert not failed, failed
        answered = {name: entry["requests"] for name, entry in summary(self.recorded).items()}
        print(f"{self.rung}: {sum(answered.values())} requests, none failed: {answered}")
        assert set(answered) == CLASSES, answered
        assert 0 not in answered.values(), answered

    def seconds(self, *, failed: bool) -> set[int]:
        """The seconds in which requests failed, or were answered."""
        found = (entry["seconds"].items() for entry in self.recorded["classes"].values())
        return {int(second) for counts in found for second, count in counts if count[failed]}


@dataclass
class Visitors:
    """Sends visitors to a cluster, which has people and accounts for them; `visits` has all of their ways."""

    target: Target
    visits: list[Visits] = field(default_factory=list)

    @contextmanager
    def meanwhile(self, rung: str) -> Iterator[None]:
        """Visitors come to the rung's address while the block runs."""
        with load.traffic(self.target, rung, PLAN, LOAD) as traffic:
            yield
        self.visits.append(Visits(rung, traffic.recorded))


def visitors(inventory: Path) -> Visitors:
    """Prepare the application of a cluster that serves for visitors."""
    target = read_target(inventory)
    load_data(target, PLAN, profiles=PROFILES)
    return Visitors(target)
