"""Make every page of this edge host's cache stale after it was away: DOMAIN SOCKET [WITNESSES...].

What was purged while nobody reached the host, or while it stood still, was not purged here. So whoever comes then gets
each page anew; the copies stay for when the origin is away. SOCKET is the one that Varnish takes purges at. WITNESSES
are lists such as 192.0.2.31/443,192.0.2.32/443 of ADDRESS/PORT: a later list is asked when nobody of an earlier one was
reached. Without any the host is away only when it stands still.
"""

from __future__ import annotations

import errno
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

LOOK = 1.0  # seconds from one look to the next
PATIENCE = 0.5  # seconds for a witness
AWAY = 5.0  # seconds; in a shorter absence a purge waits for the host, or fails and names it
LIMIT = 10  # seconds for Varnish
WITNESSES_AT_ONCE = 16
# What a network says of a host that is not there; of other faults this host has its own.
GONE = (errno.EHOSTUNREACH, errno.EHOSTDOWN, errno.ENETUNREACH, errno.ENETDOWN)


def answers(witness: str) -> bool:
    """Whether a host is reached: one that refuses the connection is."""
    address, _, port = witness.rpartition("/")
    try:
        socket.create_connection((address, int(port)), timeout=PATIENCE).close()
    except OSError as error:
        return not isinstance(error, TimeoutError) and error.errno not in GONE
    return True


def clocks() -> tuple[float, float]:
    """Seconds by a clock that nobody sets, and by one that may be set right after a virtual machine stood still."""
    return time.clock_gettime(time.CLOCK_BOOTTIME), time.time()


def purge(domain: str, place: str) -> str:
    """Make every page stale; returns what was wrong."""
    command = ["curl", "--silent", "--show-error", "--fail", "--max-time", str(LIMIT), "--unix-socket", place]
    try:
        done = subprocess.run(
            [*command, "--request", "PURGE", "--header", "X-Purge: everything", f"http://{domain}/"],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
    except OSError as error:
        return str(error)
    return (done.stderr.strip() or f"curl ended with {done.returncode}") if done.returncode else ""


class Watch:
    """This host's looks at the others."""

    def __init__(self, domain: str, place: str, lists: tuple[str, ...]) -> None:
        self._domain, self._place = domain, place
        self._lists = [witnesses.split(",") for witnesses in lists]
        self._pool = ThreadPoolExecutor(WITNESSES_AT_ONCE)
        self._heard = clocks()

    def look(self) -> str:
        """Once; returns what there is to say."""
        if self._lists and not any(any(self._pool.map(answers, witnesses)) for witnesses in self._lists):
            return ""
        now = clocks()
        away = max(after - before for before, after in zip(self._heard, now, strict=True))
        if away >= AWAY and (fault := purge(self._domain, self._place)):
            return f"The pages can't be made stale: {fault}"
        self._heard = now
        return f"Away for {away:.0f} s: every page is stale" if away >= AWAY else ""


def main(domain: str, place: str, *lists: str) -> None:
    """For ever."""
    watch, said = Watch(domain, place, lists), ""
    while True:
        says = watch.look()
        if says and says != said:
            print(says, flush=True)
        said = says
        time.sleep(LOOK)


if __name__ == "__main__":
    main(*sys.argv[1:])
