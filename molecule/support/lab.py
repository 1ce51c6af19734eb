"""The lab's commands, as a user types them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from support.cluster import PROJECT


def lab(inventory: Path, *command: str) -> str:
    """Run `python -m lab` on an inventory and return what it says; it must succeed."""
    done = subprocess.run(
        [sys.executable, "-m", "lab", "-i", str(inventory), *command],
        cwd=PROJECT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    return done.stdout
