"""Commands on hosts that may be dead, and the power and the cables of the lab: everything here ends within a limit."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from lab.engine import Request
from lab.errors import LabError
from lab.inventory import Lab
from lab.inventory import load as read_lab
from loadtest.target import PROJECT, LoadError, Target

# A connection to a host that dies ends within four seconds, so that the next question finds a new one.
SSH = (
    "ssh", "-o", "BatchMode=yes", "-o", "ConnectTimeout=3", "-o", "ServerAliveInterval=2", "-o",
    "ServerAliveCountMax=2", "-o", "ControlMaster=auto", "-o", "ControlPersist=30", "-o",
    "ControlPath=~/.ssh/hugproof-drill-%C",
)  # fmt: skip
LOST = 255  # ssh's own status when it does not get through


class OutOfReach(LoadError):
    """A host does not answer, or not in time."""


@dataclass(frozen=True)
class Hosts:
    """Runs commands on the hosts of a target, as root."""

    target: Target

    def __post_init__(self) -> None:
        # For the shared connections; ssh makes it for its own files only, and later.
        (Path.home() / ".ssh").mkdir(mode=0o700, exist_ok=True)

    def command(self, name: str, *argv: str) -> list[str]:
        """What runs a command on a host."""
        login = self.target.logins[name]
        return [*SSH, *shlex.split(login.arguments), login.address, shlex.join(["sudo", "-n", *argv])]

    def run(self, name: str, *argv: str, limit: float = 20) -> str:
        """Run a command on a host, and return what it prints.

        Raises OutOfReach when the host does not answer within `limit` seconds, and LoadError when the command fails.
        """
        try:
            done = subprocess.run(
                self.command(name, *argv), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=limit
            )
        except subprocess.TimeoutExpired as error:
            raise OutOfReach(f"{name} does not answer within {limit:.0f} s.") from error
        if done.returncode == LOST:
            raise OutOfReach(f"{name} can not be reached: {done.stderr.strip()}")
        if done.returncode:
            raise LoadError(f"{name}: {shlex.join(argv)[:200]} failed:\n{(done.stderr or done.stdout).strip()[-1000:]}")
        return done.stdout

    def run_on(self, names: Iterable[str], *argv: str) -> None:
        """Run a command on several hosts at once; raises what the first fault of them raises."""
        some = list(names)
        with ThreadPoolExecutor(max(len(some), 1)) as pool:
            list(pool.map(lambda name: self.run(name, *argv), some))


@dataclass(frozen=True)
class Power:
    """The lab's hosts: off, on, cut off and mended. What breaks a host takes effect without a wait for Ansible."""

    lab: Lab
    inventory: Path

    def off(self, *names: str) -> None:
        """Pull the plugs."""
        self._engine("stop", names, hard=True)

    def cut(self, *names: str, others: tuple[str, ...] = ()) -> None:
        """Take hosts off the network, or off these others alone."""
        self._engine("cut", names, others=others)

    def mend(self) -> None:
        """Undo all cuts."""
        self._engine("mend", ())

    def on(self, *names: str) -> None:
        """Boot hosts, and wait until they can be logged into."""
        command = [sys.executable, "-m", "lab", "-i", str(self.inventory), "start", *names]
        _ended_well(subprocess.run(command, cwd=PROJECT, capture_output=True, text=True))

    def states(self) -> dict[str, str]:
        """By host: running, cut, stopped, orphaned or absent."""
        return {row["name"]: row["state"] for row in json.loads(self._engine("status", ()))["hosts"]}

    def _engine(self, command: str, names: tuple[str, ...], others: tuple[str, ...] = (), *, hard: bool = False) -> str:
        request = Request(
            command, str(PROJECT), self.lab.network, tuple(self.lab.select(list(names))) if names else self.lab.hosts,
            others=tuple(self.lab.select(list(others))) if others else (), hard=hard,
        )  # fmt: skip
        root = [] if os.geteuid() == 0 else ["sudo", "--"]
        done = subprocess.run(
            [*root, sys.executable, "-B", "-m", "lab.engine"],
            input=request.to_json(), cwd=PROJECT, capture_output=True, text=True,
        )  # fmt: skip
        return _ended_well(done)


def _ended_well(done: subprocess.CompletedProcess[str]) -> str:
    if done.returncode:
        raise LoadError(f"The lab: {done.stderr.strip()}")
    return done.stdout


def power(target: Target) -> Power:
    """The lab that has the hosts of a target.

    Raises LoadError when they are not hosts of the lab, or not all of them run: only a lab's hosts are broken for a
    drill.
    """
    try:
        found = Power(read_lab(target.inventory), target.inventory)
    except LabError as error:
        raise LoadError(f"Drills break hosts, and only a lab's are there for that: {error}") from error
    states = found.states()
    if away := [f"{name} is {state}" for name, state in states.items() if state != "running"]:
        raise LoadError(
            f"Drills need all hosts of the lab to run: {', '.join(away)}. Boot them: "
            f"python -m lab -i {target.inventory} up (`mend` for one that is cut off)."
        )
    return found
