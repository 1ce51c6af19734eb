"""Where the lab keeps things on the outer machine, and how it talks to the user."""

from __future__ import annotations

import sys
from pathlib import Path

IMAGES = Path("/var/cache/hugproof-lab/images")
PACKAGES = Path("/var/cache/hugproof-lab/packages")
DISKS = Path("/var/lib/hugproof-lab")
RUN = Path("/run/hugproof-lab")


def say(text: str) -> None:
    """Tell the user what happens; standard output is kept for results."""
    print(text, file=sys.stderr, flush=True)
