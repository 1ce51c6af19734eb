"""Records what a Locust plan measures, class by class; used as a second locustfile beside the plan.

Locust's own statistics round to the millisecond and know nothing of caches. LOADTEST_WARMUP is the time in seconds
before anything counts, LOADTEST_LIVE how often to print what visitors meet with, LOADTEST_EACH whether to keep every
request, LOADTEST_PARENT the process that wants to know, without which the load ends, LOADTEST_GATHER how long the
generator's processes may take for their last counts, LOADTEST_RESULT the file that the result goes to, as JSON:
{"began": EPOCH, "seconds": S, "cpu_seconds": OWN, "classes": {NAME: {"failures": {TEXT: N},
"times": {OUTCOME: {MILLISECONDS: N}}, "seconds": {SECOND: [ANSWERED, FAILED]}}},
"each": [[NAME, OUTCOME, BEGAN, ENDED, FAILURE or null]]}.
OUTCOME is what Cache-Status says: hit, stale, miss, pass, or none. A request counts in the second in which it ends.
Failed requests have no time.
"""

from __future__ import annotations

import json
import os
import re
import signal
import time
from collections import Counter, defaultdict
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import gevent
from gevent.event import Event
from locust import events
from locust.env import Environment
from locust.rpc.protocol import Message
from locust.runners import MasterRunner, WorkerRunner

from loadtest.words import MEASURING, SINCE

WARMUP = float(os.environ.get("LOADTEST_WARMUP", "0"))
RESULT = os.environ.get("LOADTEST_RESULT", "")
EACH = bool(os.environ.get("LOADTEST_EACH"))
LIVE = float(os.environ.get("LOADTEST_LIVE") or 0)
PARENT = int(os.environ.get("LOADTEST_PARENT") or 0)
LOOK_SECONDS = 1.0
# How long processes of the generator may take for their last requests and their counts.
GATHER_SECONDS = float(os.environ.get("LOADTEST_GATHER", "45"))
# The generator's main process tells the others to end; they send it what they recorded.
END = "loadtest-end"
RECORDED = "loadtest-recorded"


@dataclass
class Told:
    """What was met with in a short time: milliseconds of answers, how many came from the cache, texts of failures."""

    times: list[float] = field(default_factory=list)
    hits: int = 0
    failures: list[str] = field(default_factory=list)

    def add(self, milliseconds: float, outcome: str, failure: str | None) -> None:
        """Count one request."""
        if failure is not None:
            self.failures.append(failure)
            return
        self.times.append(round(milliseconds, 1))
        self.hits += outcome in {"hit", "stale"}


class Recorder:
    """Counts of one process, which add up."""

    def __init__(self) -> None:
        self.began = 0.0
        self.ended = 0.0
        self.is_worker = False
        self.gathered_by = 0.0
        self.missing = 0
        self.complete = Event()
        self.cpu_counted_from = 0.0
        self.cpu_of_others = 0.0
        self.failures: dict[str, Counter[str]] = defaultdict(Counter)
        self.times: dict[str, dict[str, Counter[str]]] = defaultdict(lambda: defaultdict(Counter))
        self.seconds: dict[str, dict[str, Counter[int]]] = defaultdict(lambda: defaultdict(Counter))
        self.told = Told()
        self.each: list[tuple[str, str, float, float, str | None]] = []

    def start(self) -> None:
        self.began = time.time() + WARMUP

    def measuring(self) -> None:
        """The warm-up is over: say so, and count the generator's own CPU time from here."""
        self.cpu_counted_from = time.process_time()
        print(MEASURING, flush=True)

    def tell(self) -> None:
        """Print what was met with since the last time."""
        told, self.told = self.told, Told()
        print(SINCE + json.dumps(asdict(told)), flush=True)

    def keep_telling(self, every: float) -> None:
        """Tell again and again, every so many seconds."""
        while True:
            gevent.sleep(every)
            self.tell()

    def stop(self) -> None:
        self.ended = self.ended or time.time()

    def add(self, name: str, milliseconds: float, outcome: str, failure: str | None) -> None:
        """Count one request, which ends now."""
        second = int(time.time() - self.began)
        if not self.began or time.time() < self.began:
            return
        self.seconds[name][str(second)][failure is not None] += 1
        if failure is None:
            self.times[name][outcome][rounded(milliseconds)] += 1
        else:
            self.failures[name][failure] += 1
        if LIVE:
            self.told.add(milliseconds, outcome, failure)
        if EACH:
            ended = time.time()
            self.each.append((name, outcome, round(ended - milliseconds / 1000, 3), round(ended, 3), failure))

    def merge(self, other: dict[str, Any]) -> None:
        """Add the counts of another process, in the form that `as_dict` gives them."""
        self.missing -= 1
        # One that was slow to end counted for longer.
        self.ended = max(self.ended, other["began"] + other["seconds"])
        self.cpu_of_others += other["cpu_seconds"]
        self.each += other["each"]
        for name, found in other["classes"].items():
            self.failures[name].update(found["failures"])
            for outcome, times in found["times"].items():
                self.times[name][outcome].update(times)
            for second, (answered, failed) in found["seconds"].items():
                self.seconds[name][second].update({0: answered, 1: failed})

    def as_dict(self) -> dict[str, Any]:
        """The counts, in the form that the module's head describes."""
        classes = {
            name: {
                "failures": self.failures[name],
                "times": self.times[name],
                "seconds": {second: [counts[0], counts[1]] for second, counts in self.seconds[name].items()},
            }
            for name in sorted(self.seconds)
        }
        return {
            "began": self.began,
            "seconds": max((self.ended or time.time()) - self.began, 0),
            "cpu_seconds": round(time.process_time() - self.cpu_counted_from + self.cpu_of_others, 3),
            "classes": classes,
            "each": self.each,
        }


def rounded(milliseconds: float) -> str:
    """A time with three significant digits, so that a result stays small however many requests it is of."""
    return f"{milliseconds:.3g}" if milliseconds < 1000 else str(round(milliseconds, -1))


def outcome(headers: Any) -> str:
    """What the cache did, by its Cache-Status (RFC 9211)."""
    status = str((headers or {}).get("Cache-Status") or "")
    if "; hit" in status:
        return "stale" if re.search(r"ttl=-", status) else "hit"
    if "fwd=stale" in status:
        return "stale"
    if "fwd=uri-miss" in status or "fwd=vary-miss" in status or "fwd=miss" in status:
        return "miss"
    return "pass" if "fwd=" in status else "none"


recorder = Recorder()


@events.test_start.add_listener
def _start(environment: Environment, **_: Any) -> None:
    recorder.start()
    recorder.is_worker = isinstance(environment.runner, WorkerRunner)
    gevent.spawn_later(WARMUP, recorder.measuring)
    if LIVE:
        gevent.spawn(recorder.keep_telling, LIVE)
    if PARENT and not recorder.is_worker:
        gevent.spawn(_end_with_parent)


def _end_with_parent() -> None:
    """Stop when nobody is left to stop the load."""
    while os.getppid() == PARENT:
        gevent.sleep(LOOK_SECONDS)
    os.kill(os.getpid(), signal.SIGTERM)


@events.request.add_listener
def _request(name: str, response_time: float, response: Any, exception: BaseException | None, **_: Any) -> None:
    failure = None if exception is None else str(exception) or type(exception).__name__
    recorder.add(name, response_time, outcome(getattr(response, "headers", None)), failure)


@events.test_stopping.add_listener
def _stopping(**_: Any) -> None:
    recorder.stop()


@events.init.add_listener
def _init(environment: Environment, **_: Any) -> None:
    """Locust itself waits half a second for the last counts of its processes, and then does without."""
    runner = environment.runner
    if isinstance(runner, WorkerRunner):
        runner.register_message(END, _end)
    elif isinstance(runner, MasterRunner):
        recorder.missing = environment.parsed_options.expect_workers
        runner.register_message(RECORDED, _merge)
        # The last to be added is called first, while messages still come.
        events.quitting.add_listener(_gather)


def _end(environment: Environment, **_: Any) -> None:
    environment.runner.stop()
    environment.runner.send_message(RECORDED, recorder.as_dict())


def _merge(msg: Message, **_: Any) -> None:
    recorder.merge(msg.data)
    if not recorder.missing:
        recorder.complete.set()


@events.test_stop.add_listener
def _gather(environment: Environment, **_: Any) -> None:
    """Wait for the counts of all processes, whether the time is over or somebody asked for an end, or both."""
    if not recorder.began or not isinstance(environment.runner, MasterRunner):
        return
    if not recorder.gathered_by:
        recorder.gathered_by = time.time() + GATHER_SECONDS
        environment.runner.send_message(END)
    recorder.complete.wait(max(recorder.gathered_by - time.time(), 0))


@events.quit.add_listener
def _quit(**_: Any) -> None:
    if recorder.missing:
        print(f"{recorder.missing} of the generator's processes did not tell what they met with.", flush=True)
    elif RESULT and not recorder.is_worker:
        recorder.stop()
        if LIVE:
            recorder.tell()
        Path(RESULT).write_text(json.dumps(recorder.as_dict()))
