#!/usr/bin/env python3
"""Restores a backup into a directory and recovers it to its target; prints what it has come to, as JSON.

PostgreSQL runs for that on a socket of its own, where nobody but its own user can reach it, and is stopped in the end.
Ends with 1 when the target is not reached, and says why.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

BIN = "/usr/lib/postgresql/{version}/bin"
POLL = 0.2
SETTINGS = """
listen_addresses = ''
port = 5432
unix_socket_directories = '{socket}'
hba_file = '{socket}/pg_hba.conf'
ident_file = '{socket}/pg_ident.conf'
hot_standby = off
max_connections = 20
max_prepared_transactions = {prepared}
max_wal_senders = 0
max_replication_slots = 64
autovacuum = off
cluster_name = 'recovery'
"""
ARCHIVING = """
archive_mode = on
archive_command = 'pgbackrest --stanza={stanza} archive-push %p'
"""
# What pgBackRest has written for the recovery, and what would stop a standby made of it later.
RECOVERY = (
    "restore_command", "recovery_target", "recovery_target_time", "recovery_target_name", "recovery_target_timeline",
    "recovery_target_action", "archive_mode",
)  # fmt: skip
FACTS = """
SELECT json_build_object(
    'newest_transaction', extract(epoch FROM pg_last_xact_replay_timestamp()),
    'timeline', (SELECT timeline_id FROM pg_control_checkpoint()),
    'checksums', current_setting('data_checksums') = 'on')
"""


class RecoveryError(Exception):
    """The data could not be brought back; the text says why."""


@dataclass(frozen=True)
class Recovery:
    """What is to be restored, and where to. `settings` are further lines of postgresql.conf."""

    data: Path
    version: str
    stanza: str
    config: str
    arguments: tuple[str, ...] = ("--type=default",)
    settings: str = ""
    limit: float = 86400

    @property
    def bin(self) -> Path:
        return Path(BIN.format(version=self.version))

    def prepared(self) -> int:
        """How many prepared transactions the backed-up server had room for: more would be kept as the data's own."""
        command = [self.bin / "pg_controldata", "-D", self.data]
        told = subprocess.run(
            command, capture_output=True, text=True, check=True, env=os.environ | {"LC_ALL": "C"}
        ).stdout
        found = re.search(r"^max_prepared_xacts setting: +(\d+)$", told, re.MULTILINE)
        return int(found[1]) if found else 0

    def restore(self) -> None:
        """Have pgBackRest fill the directory. Raises RecoveryError with its words."""
        command = ["pgbackrest", f"--config={self.config}", f"--stanza={self.stanza}", f"--pg1-path={self.data}"]
        done = subprocess.run([*command, *self.arguments, "restore"], capture_output=True, text=True, errors="replace")
        if done.returncode:
            raise RecoveryError(f"pgBackRest can't restore the backup: {' '.join((done.stdout + done.stderr).split())}")

    @contextmanager
    def running(self) -> Iterator[Path]:
        """Start PostgreSQL, wait until it has recovered, give its socket's directory, and stop it in the end."""
        with tempfile.TemporaryDirectory(prefix="recovery-") as name:
            socket = Path(name)
            (socket / "pg_hba.conf").write_text("local all postgres peer\n")
            (socket / "pg_ident.conf").write_text("")
            (socket / "postgresql.conf").write_text(
                SETTINGS.format(socket=socket, prepared=self.prepared()) + self.settings
            )
            command = [self.bin / "postgres", "-D", self.data, "-c", f"config_file={socket}/postgresql.conf"]
            with (socket / "log").open("w") as log:
                server = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
            try:
                self._wait(server, socket)
                yield socket
            finally:
                if server.poll() is None:
                    server.send_signal(2)  # SIGINT: a fast shutdown, all written
                    server.wait()
            if server.returncode:
                raise RecoveryError(f"PostgreSQL did not stop as it should: {_last_words(socket / 'log')}")

    def _wait(self, server: subprocess.Popen[bytes], socket: Path) -> None:
        deadline = time.monotonic() + self.limit
        while not self._recovered(socket):
            if server.poll() is not None:
                words = _last_words(socket / "log")
                if "before configured recovery target was reached" in words:
                    raise RecoveryError(
                        "The archive ends before the target: nothing was written at that moment or after it, or it has"
                        " a hole there (hugproof-archive-check would have told). Restore to 'latest', or to an earlier"
                        " moment."
                    )
                raise RecoveryError(f"PostgreSQL does not recover the backup: {words}")
            if time.monotonic() > deadline:
                raise RecoveryError(f"PostgreSQL has not recovered the backup within {self.limit:.0f} s.")
            time.sleep(POLL)

    def _recovered(self, socket: Path) -> bool:
        asked = self.psql(socket, "postgres", "SELECT pg_is_in_recovery()")
        return asked.returncode == 0 and asked.stdout.strip() == "f"

    def psql(self, socket: Path, database: str, statement: str) -> subprocess.CompletedProcess[str]:
        """Ask the server that is running for the recovery."""
        command = [self.bin / "psql", "--no-psqlrc", "-v", "ON_ERROR_STOP=1", "-h", socket, "-d", database, "-tA"]
        return subprocess.run([*command, "-c", statement], capture_output=True, text=True)

    def facts(self, socket: Path) -> dict[str, Any]:
        """What the data has come to: {newest_transaction: seconds since 1970 or null, timeline, checksums}."""
        found: dict[str, Any] = json.loads(self.psql(socket, "postgres", FACTS).stdout)
        return found

    def forget(self, socket: Path) -> None:
        """Leave no setting of the recovery behind."""
        for name in RECOVERY:
            done = self.psql(socket, "postgres", f"ALTER SYSTEM RESET {name}")
            if done.returncode:
                raise RecoveryError(f"A setting of the recovery stays behind: {done.stderr.strip()}")


def _last_words(log: Path) -> str:
    lines = [line for line in log.read_text(errors="replace").splitlines() if re.search(r"FATAL|PANIC|ERROR", line)]
    return " ".join(lines[-3:]) or "it says nothing"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--version", required=True)
    parser.add_argument("--stanza", required=True)
    parser.add_argument("--config", default="/etc/pgbackrest.conf")
    parser.add_argument("--type", default="default")
    parser.add_argument("--target")
    parser.add_argument("--timeline")
    parser.add_argument("--set")
    parser.add_argument("--beside", action="store_true", help="another cluster of the host goes on: archive nothing")
    parser.add_argument("--delta", action="store_true", help="keep what is right already of a directory with data")
    options = parser.parse_args()
    os.umask(0o077)
    recovery = Recovery(
        options.data, options.version, options.stanza, options.config, tuple(_arguments(options)),
        "" if options.beside else ARCHIVING.format(stanza=options.stanza),
    )  # fmt: skip
    try:
        recovery.restore()
        with recovery.running() as socket:
            found = recovery.facts(socket)
            recovery.forget(socket)
    except RecoveryError as error:
        print(error, file=sys.stderr)
        return 1
    print(json.dumps(found))
    return 0


def _arguments(options: argparse.Namespace) -> Iterator[str]:
    yield f"--type={options.type}"
    if options.target:
        yield f"--target={options.target}"
        yield "--target-action=promote"
    if options.timeline:
        yield f"--target-timeline={options.timeline}"
    if options.set:
        yield f"--set={options.set}"
    if options.delta:
        yield "--delta"
    if options.beside:
        yield "--archive-mode=off"
        yield f"--tablespace-map-all={options.data}.tablespaces"


if __name__ == "__main__":
    sys.exit(main())
