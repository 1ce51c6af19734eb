"""What is in the repository of backups, as pgBackRest tells."""

from __future__ import annotations

import json
import re
import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

# Of an answer by HTTP: what was wrong with it comes after them.
HEADERS = re.compile(r"\*{3} (Request|Response) Headers \*{3}:.*?(?=\*{3} |$)", re.DOTALL)
SEGMENT = re.compile(r"[0-9A-F]{24}-[0-9a-f]{40}")
NO_STANZA = 1
STRANGE = (
    "The repository of backups can't be read with pgbackrest_passphrase: it was made with another one (or is damaged)."
    " Write the passphrase that it was made with into the vault; without it nobody can read its backups."
)


class Refusal(Exception):
    """What a user has asked for can't be done; the text says why, and what to do."""


def told(seconds: float) -> str:
    """A moment as a user writes it."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S+00")


@dataclass(frozen=True)
class Repository:
    """The backups of one stanza; `config` is pgBackRest's file."""

    stanza: str
    config: str

    def ask(self, *arguments: str) -> str:
        """Run a command of pgBackRest's and return what it prints. Raises Refusal with its own words."""
        options = [f"--config={self.config}", "--log-level-console=error"]
        done = subprocess.run(["pgbackrest", *options, *arguments], capture_output=True, timeout=120)
        if done.returncode:
            words = (done.stderr or done.stdout).decode(errors="replace").strip()
            raise Refusal(f"The repository of backups can't be read: {' '.join(words.split())}")
        return done.stdout.decode(errors="replace")

    def info(self) -> dict[str, Any]:
        """What there is of the stanza. Raises Refusal when it can't be read."""
        # With another passphrase it quotes what it has not understood, control characters and all.
        found = json.loads(self.ask("info", f"--stanza={self.stanza}", "--output=json"), strict=False)
        stanza: dict[str, Any] = found[0] if found else {"status": {"code": NO_STANZA}, "backup": [], "db": []}
        troubles = [repository["status"] for repository in stanza.get("repo", []) if repository["status"]["code"] > 5]
        if troubles:
            words = HEADERS.sub("", troubles[0]["message"])
            if re.search(r"CryptoError|FormatError|ChecksumError", words):
                raise Refusal(STRANGE)
            raise Refusal(f"The repository of backups can't be read: {' '.join(words.split())[:500]}")
        return stanza

    def newest_segment(self) -> float:
        """When the last segment of the write-ahead log was archived, in seconds since 1970; 0 for never."""
        archive = f"archive/{self.stanza}"
        files = json.loads(self.ask("repo-ls", "--output=json", "--recurse", archive))
        return max((file["time"] for path, file in files.items() if SEGMENT.search(path)), default=0)
