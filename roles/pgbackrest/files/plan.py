#!/usr/bin/env python3
"""Answers what can be restored, before anything is: prints JSON, or says why not and ends with 1."""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from datetime import UTC, datetime
from typing import Any

from repository import NO_STANZA, Refusal, Repository, told

POINT = "restore-point-"
NO_DATABASE = {"id": 0, "version": "", "system-id": ""}
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
# What `annotate` keeps of a restore point.
RECORD = re.compile(r"(?P<at>\d+) (?P<timeline>\d+)")


def state(repository: Repository) -> dict[str, Any]:
    """Whether there is a stanza, of which database and major version of PostgreSQL it is, and which backups of that."""
    found = repository.info()
    database = max(found["db"], key=lambda entry: entry["id"]) if found["db"] else NO_DATABASE
    return {
        "stanza": found["status"]["code"] != NO_STANZA,
        "backups": [backup["label"] for backup in found["backup"] if backup["database"]["id"] == database["id"]],
        "version": database["version"],
        "system": str(database["system-id"]),
    }


def restorable(found: dict[str, Any]) -> list[dict[str, Any]]:
    """The backups that PostgreSQL can start with, oldest first: those of its major version. Raises Refusal."""
    versions = {database["id"]: database["version"] for database in found["db"]}
    backups = [
        backup
        for backup in found["backup"]
        if versions[backup["database"]["id"]] == versions[max(versions)] and not backup.get("error")
    ]
    if not backups:
        raise Refusal("There is no backup to restore: playbooks/backup.yml makes one.")
    return sorted(backups, key=lambda backup: backup["timestamp"]["stop"])


def points(backups: list[dict[str, Any]]) -> dict[str, tuple[str, int, int]]:
    """The named restore points: (label of the backup before it, seconds since 1970, timeline)."""
    found = {}
    for backup in backups:
        for key, value in (backup.get("annotation") or {}).items():
            if key.startswith(POINT) and (record := RECORD.fullmatch(value)):
                found[key.removeprefix(POINT)] = (backup["label"], int(record["at"]), int(record["timeline"]))
    return found


def moment(text: str) -> float:
    """Seconds since 1970 of a time as people write it; without an offset it is UTC. Raises Refusal."""
    tidy = re.sub(r"([+-]\d\d)$", r"\1:00", text.strip())
    try:
        found = datetime.fromisoformat(tidy)
    except ValueError:
        raise Refusal(
            f"target is '{text}': write latest, a time such as '2026-11-26 12:00:00+00', or name=NAME."
        ) from None
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()


def plan(repository: Repository, target: str, timeline: str) -> dict[str, Any]:
    """Return {arguments of recover.py, size in bytes, what: in words} for a target. Raises Refusal."""
    backups = restorable(repository.info())
    chosen, arguments, what = backups[-1], ["--type=default"], "the last change that is archived"
    if target.startswith("name="):
        name = target.removeprefix("name=")
        chosen, arguments, what = _named(backups, name)
        timeline = timeline or str(points(backups)[name][2])
    elif target != "latest":
        chosen, arguments, what = _timed(backups, target, repository.newest_segment())
    if timeline == str(_timeline(chosen)):
        # PostgreSQL would look for the history of how it began, which may be older than the archive.
        timeline = "current"
    if timeline:
        arguments.append(f"--timeline={timeline}")
    return {
        "arguments": [*arguments, f"--set={chosen['label']}"],
        "size": chosen["info"]["size"],
        "what": what,
        "backup": chosen["label"],
    }


def _timeline(backup: dict[str, Any]) -> int:
    """The timeline that a backup was made on."""
    return int(backup["archive"]["start"][:8], 16)


def _range(backups: list[dict[str, Any]], newest: float) -> str:
    last = max(newest, backups[-1]["timestamp"]["stop"])
    return f"The archive reaches from {told(backups[0]['timestamp']['stop'])} to {told(last)}."


def _timed(backups: list[dict[str, Any]], target: str, newest: float) -> tuple[dict[str, Any], list[str], str]:
    wanted = moment(target)
    before = [backup for backup in backups if backup["timestamp"]["stop"] < wanted]
    if not before or wanted > newest:
        raise Refusal(f"target is '{target}', which the backups don't cover. {_range(backups, newest)}")
    exact = datetime.fromtimestamp(wanted, UTC).isoformat(sep=" ")
    return before[-1], ["--type=time", f"--target={exact}"], f"the moment {exact}"


def _named(backups: list[dict[str, Any]], name: str) -> tuple[dict[str, Any], list[str], str]:
    known = points(backups)
    if name not in known:
        names = ", ".join(f"{other} ({told(at)})" for other, (_, at, _) in sorted(known.items())) or "none"
        raise Refusal(
            f"There is no restore point '{name}'. There are: {names}. playbooks/backup.yml -e restore_point=NAME makes"
            " one; a time can be written too."
        )
    label, at, _ = known[name]
    [chosen] = [backup for backup in backups if backup["label"] == label]
    arguments = ["--type=name", f"--target={name}"]
    return chosen, arguments, f"the restore point {name} of {told(at)}"


def mark(repository: Repository, name: str, timeline: int) -> dict[str, Any]:
    """Keep the name of a restore point that has been made, with the backup that it comes after. Raises Refusal."""
    backups = repository.info()["backup"]
    label = max(backups, key=lambda backup: backup["timestamp"]["stop"])["label"]
    at = int(datetime.now(UTC).timestamp())
    annotation = f"--annotation={POINT}{name}={at} {timeline}"
    repository.ask("annotate", f"--stanza={repository.stanza}", f"--set={label}", annotation)
    return {"name": name, "backup": label, "at": told(at)}


def may_mark(repository: Repository, name: str) -> dict[str, Any]:
    """Whether a restore point may have the name. Raises Refusal."""
    backups = repository.info()["backup"]
    if not NAME.fullmatch(name):
        raise Refusal(f"restore_point is '{name}': write letters, digits, dots, hyphens and underscores, at most 63.")
    if not backups:
        raise Refusal("There is no backup yet that a restore point could follow: playbooks/backup.yml makes one.")
    if name in points(backups):
        raise Refusal(f"There is a restore point '{name}' already, of {told(points(backups)[name][1])}.")
    return {"name": name}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stanza", required=True)
    parser.add_argument("--config", default="/etc/pgbackrest.conf")
    parser.add_argument("--passphrase-stdin", action="store_true", help="with that one, instead of the file's")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("state")
    wanted = commands.add_parser("plan")
    wanted.add_argument("--target", default="latest")
    wanted.add_argument("--timeline", default="")
    commands.add_parser("may-mark").add_argument("--name", required=True)
    marked = commands.add_parser("mark")
    marked.add_argument("--name", required=True)
    marked.add_argument("--timeline", type=int, required=True)
    options = parser.parse_args()
    if options.passphrase_stdin:
        os.environ["PGBACKREST_REPO1_CIPHER_PASS"] = sys.stdin.readline().strip()
    repository = Repository(options.stanza, options.config)
    actions = {
        "state": lambda: state(repository),
        "plan": lambda: plan(repository, options.target, options.timeline),
        "may-mark": lambda: may_mark(repository, options.name),
        "mark": lambda: mark(repository, options.name, options.timeline),
    }
    try:
        print(json.dumps(actions[options.command]()))
    except Refusal as refusal:
        print(refusal, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
