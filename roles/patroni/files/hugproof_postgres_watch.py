"""Wake Patroni as soon as PostgreSQL ends: PID_FILE PATRONI, where PostgreSQL writes its number and Patroni's URL here.

By itself Patroni looks once in loop_wait: a server that was killed would be away for that long.
"""

from __future__ import annotations

import json
import os
import select
import sys
import time
import urllib.request
from pathlib import Path

LIMIT = 5  # seconds
PAUSE = 0.2  # seconds, between two looks for a server while there is none


def _server(pid_file: Path) -> tuple[int, int]:
    """The server's process and a descriptor that tells its end; OSError or ValueError when it does not run."""
    process = int(pid_file.read_text())
    # Of a server that was killed the file stays, and another program may have got its number.
    if Path(f"/proc/{process}/comm").read_text() != "postgres\n":
        raise ProcessLookupError
    return process, os.pidfd_open(process)


def _wait_for_end(process: int, descriptor: int) -> None:
    """Also until it is no process any more: one that nobody has collected yet runs, for Patroni."""
    select.select([descriptor], [], [])
    os.close(descriptor)
    while Path(f"/proc/{process}").exists():
        time.sleep(0.01)


def _wake(patroni: str) -> None:
    """Patroni looks at everything after a change of the settings of all, even if it changes nothing; OSError."""
    request = urllib.request.Request(  # noqa: S310 - the role's own URL
        f"{patroni}/config", json.dumps({"hugproof": None}).encode(), method="PATCH"
    )
    with urllib.request.urlopen(request, timeout=LIMIT):  # noqa: S310 - the role's own URL
        pass


def _found(pid_file: Path) -> tuple[int, int]:
    """As _server, once there is one."""
    while True:
        try:
            return _server(pid_file)
        except (OSError, ValueError):
            time.sleep(PAUSE)


def main(pid_file: str, patroni: str) -> None:
    """Once; systemd starts it again, after what else is to follow."""
    _wait_for_end(*_found(Path(pid_file)))
    print("PostgreSQL has ended: Patroni is told", flush=True)
    try:
        _wake(patroni)
    except OSError as error:
        print(f"Patroni could not be told, and looks when it is time: {error}", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
