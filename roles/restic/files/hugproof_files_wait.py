#!/usr/bin/python3
"""Wait until nobody else works in a restic repository: SECONDS COMMAND..., at most, and what runs restic with it.

Restic has a wait of its own, --retry-lock, since 0.16; Debian 12's is older.
"""

from __future__ import annotations

import subprocess
import sys
import threading
import time

LOOK = 1.0  # seconds between two looks


def locks(command: list[str]) -> list[str]:
    """The locks that others have. Raises CalledProcessError when the repository can't be asked; restic says why."""
    asked = [*command, "list", "locks", "--no-lock", "--quiet"]
    return subprocess.run(asked, stdout=subprocess.PIPE, text=True, check=True).stdout.split()


def main(seconds: str, *command: str) -> int | str:
    """Return 0 when there is no lock, else what is wrong."""
    deadline, never = time.monotonic() + float(seconds), threading.Event()
    try:
        while held := locks(list(command)):
            if time.monotonic() > deadline:
                return f"Others have worked in the repository for {float(seconds):.0f} s: {', '.join(held)}"
            never.wait(LOOK)
    except subprocess.CalledProcessError as error:
        return error.returncode
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
