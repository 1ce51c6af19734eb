#!/usr/bin/python3
"""Fails when the newest of some backups is too old: restic's list of snapshots, in JSON, is read from stdin."""

from __future__ import annotations

import argparse
import json
import sys
from datetime import UTC, datetime

AHEAD_HOURS = 0.25


def main() -> str | None:
    """Return what is wrong, if anything."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hours", type=float, required=True)
    options = parser.parse_args()
    times = [datetime.fromisoformat(snapshot["time"]) for snapshot in json.load(sys.stdin) or []]
    if not times:
        return "There is no backup of uploaded files."
    hours = (datetime.now(UTC) - max(times)).total_seconds() / 3600
    if hours < -AHEAD_HOURS:
        return f"A backup of uploaded files is from the future, {max(times)}: a host's clock was wrong. Forget it."
    if hours > options.hours:
        return f"The newest backup of uploaded files is {hours:.0f} hours old; {options.hours:.0f} are allowed."
    return None


if __name__ == "__main__":
    sys.exit(main())
