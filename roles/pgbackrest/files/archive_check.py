#!/usr/bin/env python3
"""Raises the alarm, by failing, while what is written to the database does not get into the archive of backups.

It ends by itself: the next run that finds the archive up to date succeeds. A standby archives nothing, and PostgreSQL
that does not run has an alarm of its own.

A leader that is lost takes with it what it had not archived yet: its successor has that in its data, and never archives
it. That too is an alarm, until there is a newer backup.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from repository import Refusal, Repository

# A segment that waits longer than so many times the time after which it should be archived.
PATIENCE = 3
# Where nobody writes, something is written after so many seconds: else nobody could tell silence from loss.
HEARTBEAT = 900
STATE = """
SELECT CASE WHEN pg_is_in_recovery() THEN '' ELSE concat_ws('|',
    (SELECT coalesce(extract(epoch FROM now() - min(modification))::int, 0) FROM pg_ls_archive_statusdir()
     WHERE name ~ '[.]ready$'),
    (SELECT count(*) FROM pg_ls_archive_statusdir() WHERE name ~ '[.]ready$'),
    coalesce(last_failed_time > coalesce(last_archived_time, '-infinity'), false),
    coalesce(extract(epoch FROM now() - last_archived_time)::int, 0),
    coalesce(to_char(last_archived_time AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS+00'), 'never')) END
FROM pg_stat_archiver
"""


# Which database it is, the timeline that is written, the size of a segment in bytes, and what the timeline came from.
HISTORY = """
SELECT (SELECT system_identifier FROM pg_control_system()), timeline_id,
    (SELECT setting FROM pg_settings WHERE name = 'wal_segment_size'),
    CASE WHEN timeline_id > 1 THEN
        pg_read_file('pg_wal/' || lpad(upper(to_hex(timeline_id)), 8, '0') || '.history') END
FROM pg_control_checkpoint()
"""
CONFIG = "/etc/pgbackrest.conf"
NOT_FOUND = 1  # pgBackRest's status of archive-get
# The database and its timeline before which nothing is missing; gone with a restart of the host, and found out again.
KNOWN = Path("/run/pgbackrest/hugproof-archive-whole")


def query(port: int, statement: str) -> subprocess.CompletedProcess[str]:
    command = ["psql", "--no-psqlrc", "--port", str(port), "-v", "ON_ERROR_STOP=1", "-tAc", statement, "postgres"]
    return subprocess.run(command, capture_output=True, text=True, timeout=30)


def alarm(text: str) -> int:
    """Tell the journal, as an error."""
    print(f"<3>{text}", file=sys.stderr)
    return 1


def last_of_each(history: str, size: int) -> list[str]:
    """The names of the last whole segments before each change of timeline, without those that have none.

    `history` is the newest timeline's file: a line for each before it, of its number and of where it ended. The segment
    that a timeline ends in is the next one's, by name too.
    """
    lines = [line.split()[:2] for line in history.splitlines() if line.strip() and not line.startswith("#")]
    ends = [(int(timeline), _position(end)) for timeline, end in lines]
    begins = [0, *(end for _, end in ends)]
    found = []
    for _, end in ends:
        number = end // size - 1
        timeline = max(one for (one, _), begin in zip(ends, begins, strict=False) if begin < (number + 1) * size)
        high, low = divmod(number, (1 << 32) // size)
        found += [f"{timeline:08X}{high:08X}{low:08X}"] if number > 0 else []
    return found


def _position(text: str) -> int:
    high, low = text.split("/")
    return (int(high, 16) << 32) + int(low, 16)


def hole(port: int, repository: Repository) -> str:
    """A segment that a leader before this one had not archived when it ended; empty when there is none.

    What came before the newest backup does not matter any more. Raises Refusal when the repository can't be asked.
    """
    asked = query(port, HISTORY)
    if asked.returncode:
        return ""
    system, timeline, size, history = asked.stdout.strip().split("|", 3)
    known = f"{system} {timeline}"
    if timeline == "1" or (KNOWN.exists() and KNOWN.read_text() == known):
        return ""
    backups = repository.info()["backup"]
    if not backups:
        return ""  # the first one is being made
    begin = max(backups, key=lambda backup: backup["timestamp"]["stop"])["archive"]["start"]
    for segment in last_of_each(history, int(size)):
        if segment[8:] >= begin[8:] and not _archived(repository, segment):
            return segment
    KNOWN.write_text(known)
    return ""


def _archived(repository: Repository, segment: str) -> bool:
    """Whether the archive has a segment. Raises Refusal when it can't be asked."""
    with tempfile.TemporaryDirectory() as place:
        options = [f"--config={repository.config}", f"--stanza={repository.stanza}", "--log-level-console=error"]
        command = ["pgbackrest", *options, "archive-get", segment, f"{place}/{segment}"]
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=120)
    if done.returncode not in {0, NOT_FOUND}:
        raise Refusal(" ".join((done.stderr or done.stdout).split()))
    return done.returncode == 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--seconds", type=int, required=True, help="after which a segment should be archived")
    parser.add_argument("--stanza", help="without it the unit is of an earlier run, and holes are not looked for")
    options = parser.parse_args()
    asked = query(options.port, STATE)
    if asked.returncode:
        print(f"<4>PostgreSQL can't be asked, so nothing is known of its archive: {asked.stderr.strip()}")
        return 0
    if not asked.stdout.strip():
        return 0
    waits, count, failing, quiet, last = asked.stdout.strip().split("|")
    if int(waits) > PATIENCE * options.seconds or (failing == "t" and int(waits) > options.seconds):
        return alarm(
            f"The database is not archived: {count} segments of its write-ahead log wait, the first for {waits} s; the"
            f" last one was archived {last}. They are kept until the repository of backups takes them: is its host up,"
            " and has its disk room? See the journal of PostgreSQL for pgBackRest's words."
        )
    if int(quiet) > HEARTBEAT and int(count) == 0:
        query(options.port, "SELECT pg_current_xact_id()")
    try:
        if options.stanza and (segment := hole(options.port, Repository(options.stanza, CONFIG))):
            return alarm(
                "The archive of backups has a hole: a leader before this one ended before it had archived all, the"
                f" segment {segment} among it. Nothing from there on can be restored until there is a new backup: run"
                " playbooks/backup.yml now."
            )
    except Refusal as refusal:
        print(f"<4>Nothing is known of what a leader before this one has archived: {refusal}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
