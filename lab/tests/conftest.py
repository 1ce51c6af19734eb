"""Labs of the tests' own, on subnets that no inventory of this repository uses."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Trial:
    """A lab as its user sees it."""

    inventory: Path
    subnet: str

    def command(self, *arguments: str) -> list[str]:
        """The command line of a lab command."""
        return [sys.executable, "-m", "lab", "-i", str(self.inventory), *arguments]

    def run(self, *arguments: str, expect: int = 0) -> subprocess.CompletedProcess[str]:
        """Run a lab command that has to end with a certain status."""
        done = subprocess.run(self.command(*arguments), cwd=REPOSITORY, capture_output=True, text=True, timeout=400)
        assert done.returncode == expect, done.stderr
        return done

    def ssh(self, host: str, command: str, expect: int = 0) -> str:
        """Run a command on a host as its login user, with nothing but the lab's ssh_config."""
        argv = ["ssh", "-F", str(REPOSITORY / ".lab/ssh_config"), host, command]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=30)
        assert done.returncode == expect, done.stderr
        return done.stdout.strip()

    def state(self, host: str) -> str:
        """What a host's systemd says of itself once its boot is over.

        It is asked again and again: systemctl's --wait waits for a signal, which systemd sends on the bus only if
        somebody has subscribed to its signals, as logind does when it starts.
        """

        def settled() -> str:
            says = self.ssh(host, "systemctl is-system-running || true")
            return "" if says in ("initializing", "starting") else says

        return str(eventually(settled, seconds=120))


def make_trial(directory: Path, subnet: str, hosts: str) -> Trial:
    """Write an inventory; in `hosts` a number in brackets stands for an address of the subnet."""
    inventory = directory / f"{subnet}.yml"
    inventory.write_text(f"all: {{hosts: {{{hosts.replace('[', subnet + '.').replace(']', '')}}}}}\n")
    return Trial(inventory, subnet)


@pytest.fixture(scope="module")
def trial(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trial]:
    """A running lab of one host a release."""
    hosts = "one: {ansible_host: [11], lab_cpus: 0.5}, two: {ansible_host: [12], lab_release: bookworm}"
    lab = make_trial(tmp_path_factory.mktemp("lab"), "10.45.9", hosts)
    try:
        lab.run("up")
        yield lab
    finally:
        lab.run("down")


def eventually(condition: Callable[[], object], seconds: float = 20.0) -> object:
    """Wait until a condition holds, and return what it said; fail after a limit."""
    deadline = time.monotonic() + seconds
    while not (holds := condition()):
        assert time.monotonic() < deadline, "this never came true"
        time.sleep(0.05)
    return holds
