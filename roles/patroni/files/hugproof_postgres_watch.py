"""Wake Patroni as soon as PostgreSQL ends, or waits for a standby that is gone: PID_FILE PORT PATRONI.

Arguments: where PostgreSQL writes its number, where it listens, and Patroni's URL here. By itself Patroni looks once in
loop_wait: a server that was killed would be away for that long, and what is committed would wait as long for the
standby that has to have it.
"""

from __future__ import annotations

import os
import select
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg2
from hugproof_silent_leader import wake

LIMIT = 5  # seconds
LOOK = 1.0  # seconds, between two looks at the standbys
MISSING = """
    SELECT NOT pg_is_in_recovery() AND current_setting('synchronous_standby_names') <> ''
    AND NOT EXISTS (SELECT FROM pg_stat_replication WHERE sync_state IN ('sync', 'quorum'))
"""
PAUSE = 0.2  # seconds, between two looks for a server while there is none


def _server(pid_file: Path) -> tuple[int, int]:
    """The server's process and a descriptor that tells its end; OSError or ValueError when it does not run."""
    process = int(pid_file.read_text())
    # Of a server that was killed the file stays, and another program may have got its number.
    if Path(f"/proc/{process}/comm").read_text() != "postgres\n":
        raise ProcessLookupError
    return process, os.pidfd_open(process)


def _wait_for_end(process: int, descriptor: int, meanwhile: Callable[[], None]) -> None:
    """Also until it is no process any more: one that nobody has collected yet runs, for Patroni."""
    while not select.select([descriptor], [], [], LOOK)[0]:
        meanwhile()
    os.close(descriptor)
    while Path(f"/proc/{process}").exists():
        time.sleep(0.01)


def _found(pid_file: Path) -> tuple[int, int]:
    """As _server, once there is one."""
    while True:
        try:
            return _server(pid_file)
        except (OSError, ValueError):
            time.sleep(PAUSE)


@dataclass
class Standbys:
    """Whether PostgreSQL waits for standbys of which none is connected; Patroni is told of it once.

    A server that has just started has none yet. It is not told of: Patroni would let it do without, and what is
    acknowledged until they come would be on one host alone. If they do not come, Patroni sees it when it looks.
    """

    port: str
    patroni: str
    connection: Any = None
    told: bool = True

    def look(self) -> None:
        """Ask PostgreSQL, and tell Patroni if need be; who can't be asked or told is the next time."""
        try:
            if self._missing() != self.told:
                self.told = not self.told
                if self.told:
                    print("No standby has what is committed: Patroni is told", flush=True)
                    wake(self.patroni)
        except psycopg2.Error:
            self.connection = None
        except OSError as error:
            self.told = False
            print(f"Patroni could not be told: {error}", flush=True)

    def _missing(self) -> bool:
        if not self.connection:
            self.connection = psycopg2.connect(
                host="/run/postgresql", port=self.port, dbname="postgres", connect_timeout=LIMIT
            )
            self.connection.autocommit = True
        with self.connection.cursor() as cursor:
            cursor.execute(MISSING)
            return bool(cursor.fetchone()[0])


def main(pid_file: str, port: str, patroni: str) -> None:
    """Once; systemd starts it again, after what else is to follow."""
    _wait_for_end(*_found(Path(pid_file)), Standbys(port, patroni).look)
    print("PostgreSQL has ended: Patroni is told", flush=True)
    try:
        wake(patroni)
    except OSError as error:
        print(f"Patroni could not be told, and looks when it is time: {error}", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
