"""Visitors who come until they are told to stop, and what they meet with, line by line."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from loadtest import load
from loadtest.ladder import load_data
from loadtest.load import Load, Plan
from loadtest.target import Target

HEAD = "    time  answers/s  from the cache      p50      p99  failed so far"


@dataclass
class Live:
    """Lines of a terminal, one every so many seconds, and what they add up to."""

    every: float
    answered: int = 0
    failures: Counter[str] = field(default_factory=Counter)

    def tell(self, told: dict[str, Any]) -> None:
        """Print a line of what was met with since the one before: {times, hits, failures}, as the recorder has it."""
        times = sorted(told["times"])
        self.answered += len(times)
        self.failures.update(told["failures"])
        cached = f"{told['hits'] / len(times):.0%}" if times else "-"
        middle, slow = (f"{_quantile(times, share):,.0f} ms" if times else "-" for share in (0.5, 0.99))
        new = f"  {'; '.join(sorted(set(told['failures'])))}" if told["failures"] else ""
        seen = f"{len(times) / self.every:>9.0f}  {cached:>14}  {middle:>7}  {slow:>7}"
        print(f"{time.strftime('%H:%M:%S')}  {seen}  {self.failures.total()}{new}", flush=True)

    def total(self) -> str:
        """All lines in a sentence."""
        kinds = "".join(f"\n{number:,} x {text}" for text, number in self.failures.most_common())
        return f"{self.failures.total():,} of {self.answered + self.failures.total():,} requests failed.{kinds}"


def come(target: Target, rung: str, plan: Plan, wanted: Load, *, profiles: int) -> int:
    """Let visitors come, and print a line every `wanted.live` seconds; 1 when any request failed.

    `profiles` is how many the directory of the example application is to have at least; 0 for a plan of another one.
    Raises LoadError when the generator fails.
    """
    live = Live(wanted.live)
    if profiles:
        load_data(target, plan, profiles=profiles)
    try:
        print(HEAD, flush=True)
        with load.traffic(target, rung, plan, wanted, live.tell) as traffic:
            try:
                traffic.wait()
            except KeyboardInterrupt:
                print(flush=True)
        print(live.total(), flush=True)
    finally:
        if profiles:
            load_data(target, plan, accounts=0)
    return int(live.failures.total() > 0)


def _quantile(times: list[float], share: float) -> float:
    return times[min(len(times) - 1, int(len(times) * share))]
