#!/usr/bin/python3 -I
"""Tell systemd that uWSGI is alive, as long as it is: STATS_SOCKET SECONDS.

uWSGI's master answers for statistics however busy its workers are, and ends those that hang. A service of which systemd
has heard nothing for SECONDS is killed, and started anew; systemd counts from the first answer on.
"""

from __future__ import annotations

import os
import socket
import sys
import time
from pathlib import Path


def is_alive(stats: str, patience: float) -> bool:
    """Whether the master says something within `patience` seconds, and hangs up."""
    answered = False
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(patience)
            connection.connect(stats)
            while connection.recv(65536):
                answered = True
    except OSError:
        return False
    return answered


def _version() -> int:
    return Path(__file__).stat().st_mtime_ns


def main(stats: str, seconds: str) -> None:
    """Until there is another version of this program, which uWSGI starts then."""
    limit, version = float(seconds), _version()
    message = f"WATCHDOG_USEC={limit * 1e6:.0f}\nWATCHDOG=1".encode()
    address = os.environ["NOTIFY_SOCKET"]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        while _version() == version:
            if is_alive(stats, limit / 8):
                systemd.sendto(message, address)
            time.sleep(limit / 8)


if __name__ == "__main__":
    main(*sys.argv[1:])
