"""The outer machine's way to the Debian archive: no archive address stands in this repository."""

from __future__ import annotations

import shutil
import subprocess
from functools import cache
from pathlib import Path

KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
# Settings that describe the outer apt's own indexes and mean nothing to a host.
_OWN_SETTINGS = ("Acquire::IndexTargets", "Acquire::Changelogs", "Acquire::cdrom", "Acquire::CompressionTypes")


@cache
def sources(release: str) -> str | None:
    """The one-line sources of a Debian release, at the addresses that the outer machine uses.

    None where the outer machine is not Debian, or has no archive reachable over the network.
    """
    archives = _archives()
    if "Debian" not in archives:
        return None
    suites = [(archives["Debian"], release), (archives["Debian"], f"{release}-updates")]
    if "Debian-Security" in archives:
        suites.append((archives["Debian-Security"], f"{release}-security"))
    return "".join(f"deb [signed-by={KEYRING}] {uri} {suite} main\n" for uri, suite in suites)


@cache
def settings() -> list[str]:
    """The outer apt's `Acquire::` settings (proxies, timeouts and the like), as lines of an apt.conf."""
    if not shutil.which("apt-config"):
        return []
    dump = subprocess.run(["apt-config", "dump"], capture_output=True, text=True, check=True).stdout
    return [
        line
        for line in dump.splitlines()
        if line.startswith("Acquire::") and not line.startswith(_OWN_SETTINGS) and not line.endswith(' "";')
    ]


def _archives() -> dict[str, str]:
    """Debian's archives by label."""
    if not shutil.which("apt-get"):
        return {}
    found = _index_targets()
    if not found and _is_debian():
        subprocess.run(["apt-get", "--quiet", "update"], check=False, stdout=subprocess.DEVNULL)
        found = _index_targets()
    return found


def _index_targets() -> dict[str, str]:
    wanted = "$(ORIGIN) $(LABEL) $(REPO_URI)"
    command = ["apt-get", "indextargets", "--format", wanted, "Created-By: Packages"]
    lines = subprocess.run(command, capture_output=True, text=True).stdout.splitlines()
    found: dict[str, str] = {}
    for origin, label, uri in (line.split(maxsplit=2) for line in lines if line.count(" ") == 2):
        if origin == "Debian" and uri.startswith(("http:", "https:")):
            found.setdefault(label, uri)
    return found


def _is_debian() -> bool:
    release = Path("/etc/os-release")
    return release.exists() and "ID=debian" in release.read_text().splitlines()
