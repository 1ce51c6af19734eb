#!/usr/bin/env python3
"""Restores the last backup, replays all that is archived, and checks what has come of it: the proof of the backups.

The report is a file of JSON; when anything is wrong it says so, the run fails, and the journal has it as an error.
Nothing of the restored data is left behind.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from recover import Recovery, RecoveryError
from repository import Refusal, Repository, told

# Room beside the data for what is replayed, in bytes.
SPARE = 1 << 30
TABLES = """
SELECT format('%I.%I', schemaname, relname) FROM pg_stat_user_tables
WHERE schemaname !~ '^pg_' ORDER BY 1
"""
JOBS = 2


def drill(options: argparse.Namespace, report: dict[str, Any]) -> None:
    """Do all of it, and write what is found into the report. Raises RecoveryError or Refusal for what is wrong."""
    begun = time.time()
    backup = _last_backup(Repository(options.stanza, options.config))
    report["backup"] = backup["label"]
    free = shutil.disk_usage(options.scratch).free
    if free < backup["info"]["size"] + SPARE:
        needed = (backup["info"]["size"] + SPARE) >> 20
        raise RecoveryError(f"{options.scratch} has {free >> 20} MB of room, and the drill needs {needed} MB.")
    data = options.scratch / "data"
    arguments = ("--type=default", "--archive-mode=off", f"--tablespace-map-all={options.scratch}/tablespaces")
    recovery = Recovery(data, options.version, options.stanza, options.config, arguments, "", options.limit)
    data.mkdir(mode=0o700)
    recovery.restore()
    report["restored_seconds"] = round(time.time() - begun, 1)
    with recovery.running() as socket:
        report["recovered_seconds"] = round(time.time() - begun, 1)
        report |= recovery.facts(socket)
        _count(recovery, socket, options.stanza, report)
        _check_pages(recovery, socket)
    if report["checksums"]:
        _check_checksums(recovery)
    _judge_age(report, backup, begun, options.max_age)


def _last_backup(repository: Repository) -> dict[str, Any]:
    backups: list[dict[str, Any]] = repository.info()["backup"]
    if not backups:
        raise RecoveryError("There is no backup to restore.")
    return max(backups, key=lambda backup: backup["timestamp"]["stop"])


def _count(recovery: Recovery, socket: Path, database: str, report: dict[str, Any]) -> None:
    """Count the rows of the application's tables."""
    listed = recovery.psql(socket, database, TABLES)
    if listed.returncode or not listed.stdout.strip():
        raise RecoveryError(f"The database {database} has no tables in the backup. {listed.stderr.strip()}")
    report["tables"] = {}
    for table in listed.stdout.split("\n")[:-1]:
        counted = recovery.psql(socket, database, f"SELECT count(*) FROM {table}")  # noqa: S608 - quoted by format
        if counted.returncode:
            raise RecoveryError(f"{table} can't be read: {counted.stderr.strip()}")
        report["tables"][table] = int(counted.stdout)
    report["rows"] = sum(report["tables"].values())
    if not report["rows"]:
        raise RecoveryError(f"All tables of the database {database} are empty in the backup.")


def _check_pages(recovery: Recovery, socket: Path) -> None:
    """Have every table and every index looked at, and every row of a table found in its indexes."""
    options = ["--all", "--install-missing", "--heapallindexed", "--no-password", f"--jobs={JOBS}", f"--host={socket}"]
    _run("pg_amcheck finds damage", [recovery.bin / "pg_amcheck", *options])


def _check_checksums(recovery: Recovery) -> None:
    _run("A page's checksum is wrong", [recovery.bin / "pg_checksums", "--check", "-D", recovery.data])


def _run(wrong: str, command: list[str | Path]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, errors="replace")
    if done.returncode:
        raise RecoveryError(f"{wrong}: {' '.join((done.stdout + done.stderr).split())[-1000:]}")


def _judge_age(report: dict[str, Any], backup: dict[str, Any], begun: float, limit: int) -> None:
    """The data are those of the last transaction that was replayed, or of the backup where none came after it."""
    newest = max(float(report.pop("newest_transaction") or 0), backup["timestamp"]["stop"])
    report["newest_transaction"], report["age_seconds"] = told(newest), round(begun - newest)
    if report["age_seconds"] > limit:
        raise RecoveryError(
            f"The newest change in the backups is of {told(newest)}, {report['age_seconds']} s before the drill; the"
            f" limit is {limit} s (pgbackrest_drill_max_age_seconds). Is the database archived? See"
            " hugproof-archive-check on its host."
        )


def _empty(directory: Path) -> None:
    for path in directory.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stanza", required=True)
    parser.add_argument("--version", required=True)
    parser.add_argument("--config", required=True)
    parser.add_argument("--scratch", type=Path, required=True)
    parser.add_argument("--report", type=Path, required=True)
    parser.add_argument("--max-age", type=int, required=True, help="of the newest change, in seconds")
    parser.add_argument("--limit", type=int, default=86400, help="seconds for the replay")
    options = parser.parse_args()
    os.umask(0o077)
    begun = time.time()
    report: dict[str, Any] = {"passed": False, "begun": told(begun)}
    try:
        _empty(options.scratch)  # what a drill left that was killed
        drill(options, report)
        report["passed"] = True
    except (RecoveryError, Refusal, OSError) as error:
        report["reason"] = str(error)
        print(f"<3>The restore drill has failed: {error}", file=sys.stderr)
    finally:
        _empty(options.scratch)
        report["seconds"] = round(time.time() - begun, 1)
        options.report.write_text(json.dumps(report, indent=2) + "\n")
    return 0 if report["passed"] else 1


if __name__ == "__main__":
    sys.exit(main())
