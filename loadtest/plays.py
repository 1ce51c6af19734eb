"""Runs of ansible-playbook, and what came of them."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from loadtest.target import BIN, PROJECT

RECAP = re.compile(r"^(\S+) +: ok=(\d+) +changed=(\d+) +unreachable=(\d+) +failed=(\d+)", re.MULTILINE)
LIMIT = 900
# Molecule has its tools write in colour, which is in the way of reading.
PLAIN = {"ANSIBLE_FORCE_COLOR": "0", "ANSIBLE_NOCOLOR": "1", "PYTHONUNBUFFERED": "1"}


@dataclass(frozen=True)
class Run:
    """What a run printed, and the tasks that changed something, by host."""

    returncode: int
    output: str

    @property
    def changed(self) -> dict[str, int]:
        return {name: int(changed) for name, _, changed, _, _ in RECAP.findall(self.output)}

    @property
    def words(self) -> str:
        """The output with its lines joined, so that a message is found however it is wrapped."""
        return " ".join(self.output.split())

    def succeeded(self) -> Run:
        assert self.returncode == 0, self.output[-6000:]
        return self

    def failed(self) -> Run:
        assert self.returncode != 0, self.output[-6000:]
        return self


def _command(playbook: str, inventory: Path, arguments: tuple[str, ...], variables: dict[str, object]) -> list[str]:
    extra = ["-e", json.dumps(variables)] if variables else []
    return [str(BIN / "ansible-playbook"), "-i", str(inventory), *arguments, *extra, str(PROJECT / playbook)]


def run(playbook: str, inventory: Path, *arguments: str, patience: float = LIMIT, **variables: object) -> Run:
    """Run a playbook of the project, for `patience` seconds at most; `variables` are set on the command line."""
    done = subprocess.run(
        _command(playbook, inventory, arguments, variables),
        cwd=PROJECT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        timeout=patience, env=os.environ | PLAIN,
    )  # fmt: skip
    return Run(done.returncode, done.stdout)


def start(playbook: str, inventory: Path, **variables: object) -> subprocess.Popen[str]:
    """Start a run in the background, in a process group of its own."""
    return subprocess.Popen(
        _command(playbook, inventory, (), variables),
        cwd=PROJECT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env=os.environ | PLAIN, start_new_session=True,
    )  # fmt: skip


def run_watched(playbook: str, inventory: Path, moments: dict[str, Callable[[], None]], **variables: object) -> Run:
    """Run a playbook, and call what belongs to a banner as soon as it is printed; the run stands still meanwhile.

    Raises AssertionError when it ends without one of the banners.
    """
    seen, left = "", dict(moments)
    with start(playbook, inventory, **variables) as process:
        assert process.stdout
        for line in process.stdout:
            seen += line
            for banner in [banner for banner in left if banner in line]:
                os.killpg(process.pid, signal.SIGSTOP)
                try:
                    left.pop(banner)()
                finally:
                    os.killpg(process.pid, signal.SIGCONT)
    assert not left, f"The run ended without {list(left)}:\n{seen[-6000:]}"
    return Run(process.returncode, seen)


def run_until(banner: str, playbook: str, inventory: Path, **variables: object) -> str:
    """Run a playbook and kill it, with all its processes, as soon as it prints `banner`; return what it printed.

    Raises AssertionError when the run ends before that.
    """
    seen = ""
    with start(playbook, inventory, **variables) as process:
        assert process.stdout
        for line in process.stdout:
            seen += line
            if banner in line:
                os.killpg(process.pid, signal.SIGKILL)
                return seen
    raise AssertionError(f"The run ended without {banner!r}:\n{seen[-6000:]}")
