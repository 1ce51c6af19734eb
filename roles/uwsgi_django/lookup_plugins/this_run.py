"""Who runs this playbook, as text; and whether a run that was described so has ended."""

from __future__ import annotations

DOCUMENTATION = r"""
name: this_run
short_description: Who runs this playbook, and which other runs have ended
description:
  - Without a term, describes this run as C(USER@MACHINE, process PID), with what tells when it was started; the same
    for all of its tasks.
  - With terms, descriptions of runs, tells of each whether it is known to have ended.
options:
  _terms:
    description: Descriptions of other runs.
    type: list
    elements: str
"""

RETURN = r"""
_raw:
  description: The description, a string; or a boolean for each term. Of another machine's run nothing is known.
  type: list
"""

import getpass
import multiprocessing
import os
import platform
import re
import subprocess
from pathlib import Path
from typing import Any

from ansible.plugins.lookup import LookupBase

DESCRIPTION = re.compile(r".*@(?P<machine>[^@]+), process (?P<pid>\d+) \(start (?P<start>.+)\)")


def start_of(pid: int) -> str:
    """What tells a process of this machine from an earlier one with its number; empty when there is none.

    Linux counts ticks since its boot, which don't move with the clock as the times do that ps works out of them.
    """
    stat = Path(f"/proc/{pid}/stat")
    if Path("/proc/self/stat").exists():
        state, *fields = stat.read_text().rpartition(")")[2].split() if stat.exists() else "Z"
        return "" if state == "Z" else fields[18]
    command = ["ps", "-o", "lstart=", "-p", str(pid)]
    asked = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | {"LC_ALL": "C"})
    return " ".join(asked.stdout.split())


def description() -> str:
    """Describe the run that this process is, or is a worker of."""
    parent = multiprocessing.parent_process()
    pid = (parent.pid if parent else None) or os.getpid()
    return f"{getpass.getuser()}@{platform.node()}, process {pid} (start {start_of(pid)})"


def has_ended(described: str) -> bool:
    """Whether a run of this machine is no longer there; False for what can't be known."""
    found = DESCRIPTION.fullmatch(described)
    return bool(found) and found["machine"] == platform.node() and start_of(int(found["pid"])) != found["start"]


class LookupModule(LookupBase):
    """The lookup, as Ansible asks for it."""

    def run(self, terms: list[str], variables: Any = None, **kwargs: Any) -> list[str | bool]:  # noqa: ANN401
        """Return the description of this run, or for each description whether its run has ended."""
        return [has_ended(term) for term in terms] or [description()]
