"""Locust at work: its command, and what it measured."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from loadtest.target import BIN, PROJECT, LoadError, Target
from loadtest.words import MEASURING, SINCE

PEOPLE = PROJECT / "loadtest" / "plans" / "people.py"
# Seconds: however a run was asked for, it ends.
LONGEST = 5400


@dataclass(frozen=True)
class Plan:
    """A locustfile with its own options, and the password that its visitors know.

    Locust starts users of every class that it is not told to leave out: `visitors` names the closed model's, none for
    all there are.
    """

    file: Path = PEOPLE
    arguments: tuple[str, ...] = ()
    password: str = ""
    visitors: tuple[str, ...] = ("Visitor",)


@dataclass(frozen=True)
class Load:
    """How much is sent: `users` who go round without a pause or, with `rate`, visits a second of an open model.

    Nothing counts in the first `warmup` seconds. A `trial` takes every step of the plan once. With several `workers`
    Locust forks as many processes, which share the users. What they meet with is told every `live` seconds, if any.
    With `each` all requests are recorded with their moments.
    """

    users: int = 1
    rate: float = 0
    seconds: float = LONGEST
    warmup: float = 0
    trial: bool = False
    workers: int = 1
    live: float = 0
    each: bool = False

    def arguments(self, visitors: tuple[str, ...]) -> list[str]:
        """For Locust. Raises LoadError for a load without an end."""
        whole = self.seconds + self.warmup
        if not 0 < whole <= LONGEST:
            raise LoadError(f"A run of {whole:.0f} s: it must end within {LONGEST} s.")
        if self.rate:
            model = ["Arrivals", "--rate", str(self.rate), "--users", "1"]
        else:
            model = [*visitors, "--users", str(self.users)]
        several = ["--processes", str(self.workers)] if self.workers > 1 else []
        return [*model, *several, "--spawn-rate", str(max(self.users, 1)), "--run-time", f"{whole:.0f}s"]


@dataclass
class Traffic:
    """A generator that runs: what it printed so far, what it meets with (`told`), and what it recorded in the end."""

    process: subprocess.Popen[str]
    told: Callable[[dict[str, Any]], object]
    measuring: threading.Event = field(default_factory=threading.Event)
    output: str = ""
    recorded: dict[str, Any] = field(default_factory=dict)

    def wait(self) -> None:
        """Wait until the generator has ended by itself."""
        self.process.wait()

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            if line.startswith(SINCE):
                self.told(json.loads(line.removeprefix(SINCE)))
                continue
            self.output += line
            if line.strip() == MEASURING:
                self.measuring.set()
        self.measuring.set()


@contextmanager
def traffic(
    target: Target, rung: str, plan: Plan, load: Load, told: Callable[[dict[str, Any]], object] = dict
) -> Iterator[Traffic]:
    """Send load to a target while the block runs; afterwards `recorded` is known.

    `told` is called every `load.live` seconds with what was met with since: {times, hits, failures} (recorder.Told).

    Raises LoadError when the generator itself fails; requests that fail are recorded.
    """
    if not (BIN / "locust").exists():
        raise LoadError("Locust is not installed: make .venv/.loadtest")
    with tempfile.TemporaryDirectory(prefix="loadtest-") as directory:
        result = Path(directory) / "result.json"
        running = Traffic(_started(target, rung, plan, load, result), told)
        reader = threading.Thread(target=running._read)
        reader.start()
        try:
            running.measuring.wait()
            yield running
            # Ends by itself when its time is over; asked to, it ends as well and tells what it has seen.
            running.process.terminate()
            running.process.wait(timeout=60)
        finally:
            if running.process.poll() is None:
                os.killpg(running.process.pid, signal.SIGKILL)
                running.process.wait()
            reader.join()
        if running.process.returncode or not result.exists():
            raise LoadError(f"Locust ended with status {running.process.returncode}:\n{running.output[-3000:]}")
        running.recorded = json.loads(result.read_text())


def _started(target: Target, rung: str, plan: Plan, load: Load, result: Path) -> subprocess.Popen[str]:
    """The generator, in a process group of its own."""
    command = [
        str(BIN / "locust"), "--headless", "--only-summary", "--skip-log-setup", "--exit-code-on-error", "0",
        "--locustfile", f"{plan.file},{PROJECT / 'loadtest' / 'recorder.py'}", "--host", target.url(rung),
        *load.arguments(plan.visitors), *plan.arguments,
    ]  # fmt: skip
    environment = os.environ | {
        "PYTHONPATH": str(PROJECT),
        "GEVENT_RESOLVER": "loadtest.resolver.Resolver",
        "LOADTEST_ADDRESSES": target.resolved,
        "LOADTEST_PASSWORD": plan.password,
        "LOADTEST_RESULT": str(result),
        "LOADTEST_TRIAL": "1" if load.trial else "",
        "LOADTEST_WARMUP": str(load.warmup),
        "LOADTEST_LIVE": str(load.live or ""),
        "LOADTEST_EACH": "1" if load.each else "",
        "LOADTEST_PARENT": str(os.getpid()),
    }
    return subprocess.Popen(
        command, cwd=PROJECT, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, start_new_session=True,
    )  # fmt: skip
