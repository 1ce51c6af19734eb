"""Molecule's scenarios run beside the other tests: they wait for hosts and packages most of the time."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from threading import Semaphore

import pytest

PROJECT = Path(__file__).resolve().parents[1]
LOGS = PROJECT / ".cache" / "logs"
AT_ONCE = 2


@dataclass
class Scenarios:
    """Runs of `molecule test`: AT_ONCE at a time, one more when all other tests are done; each has a log of its own."""

    free: Semaphore = field(default_factory=lambda: Semaphore(AT_ONCE))
    pool: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(AT_ONCE + 1))
    waiting: bool = False
    stopped: bool = False
    runs: dict[str, Future[int]] = field(default_factory=dict)
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)

    def start(self, name: str) -> None:
        self.runs[name] = self.pool.submit(self._test, name)

    def finished(self, name: str) -> int:
        """Wait for a scenario and return molecule's exit status."""
        if not self.waiting:
            self.waiting = True
            self.free.release()
        return self.runs[name].result()

    def stop(self) -> None:
        """End what still runs: molecule's own destroy is left to the caller of the tests."""
        self.stopped = True
        self.pool.shutdown(wait=False, cancel_futures=True)
        for process in self.processes:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGTERM)

    def _test(self, name: str) -> int:
        with self.free:
            return 1 if self.stopped else self._run(name)

    def _run(self, name: str) -> int:
        LOGS.mkdir(parents=True, exist_ok=True)
        began = time.monotonic()
        plain = {"PY_COLORS": "0", "NO_COLOR": "1", "ANSIBLE_FORCE_COLOR": "0", "ANSIBLE_NOCOLOR": "1"}
        with (LOGS / f"{name}.log").open("w") as log:
            process = subprocess.Popen(
                ["molecule", "test", "--scenario-name", name, "--no-command-borders"],
                cwd=PROJECT, env=os.environ | plain, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
                start_new_session=True,
            )  # fmt: skip
            self.processes.append(process)
            status = process.wait()
        self.seconds[name] = time.monotonic() - began
        return status


KEY = pytest.StashKey[Scenarios]()


def _scenarios_of(items: list[pytest.Item]) -> list[str]:
    found = [item for item in items if isinstance(item, pytest.Function) and item.originalname == "test_scenario"]
    return [item.callspec.params["scenario"] for item in found]


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Wait for the scenarios after everything else is done."""
    items.sort(key=lambda item: bool(_scenarios_of([item])))


def pytest_collection_finish(session: pytest.Session) -> None:
    scenarios = session.config.stash[KEY] = Scenarios()
    if not session.config.option.collectonly:
        for name in _scenarios_of(session.items):
            scenarios.start(name)


def pytest_sessionfinish(session: pytest.Session) -> None:
    if KEY in session.config.stash:
        session.config.stash[KEY].stop()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if KEY in config.stash:
        for name, seconds in config.stash[KEY].seconds.items():
            terminalreporter.write_line(f"scenario {name}: {seconds:.0f} s, {LOGS / name}.log")


@pytest.fixture
def scenarios(pytestconfig: pytest.Config) -> Scenarios:
    return pytestconfig.stash[KEY]
