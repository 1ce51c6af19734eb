#!/usr/bin/env python3
"""Raises the alarm, by failing, while what is written to the database does not get into the archive of backups.

It ends by itself: the next run that finds the archive up to date succeeds. A standby archives nothing, and PostgreSQL
that does not run has an alarm of its own.
"""

from __future__ import annotations

import argparse
import subprocess
import sys

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


def query(port: int, statement: str) -> subprocess.CompletedProcess[str]:
    command = ["psql", "--no-psqlrc", "--port", str(port), "-v", "ON_ERROR_STOP=1", "-tAc", statement, "postgres"]
    return subprocess.run(command, capture_output=True, text=True, timeout=30)


def alarm(text: str) -> int:
    """Tell the journal, as an error."""
    print(f"<3>{text}", file=sys.stderr)
    return 1


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--seconds", type=int, required=True, help="after which a segment should be archived")
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
    return 0


if __name__ == "__main__":
    sys.exit(main())
