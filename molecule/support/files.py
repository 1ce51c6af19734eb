"""What the roles manage on a host, by content."""

from __future__ import annotations

import re

from testinfra.host import Host

from support.cluster import APPLICATION

# Everything below these; nothing but the roles and their packages writes there.
MANAGED = f"/etc /usr/local /var/lib/hugproof /srv/{APPLICATION}"
# Written by programs at run time, in /etc for historical reasons, or by Python when it compiles.
CHANGING = re.compile(r"/etc/(resolv\.conf|mtab|ld\.so\.cache|.*-|\.pwd\.lock|machine-id)|.*/__pycache__/.*")


def digests(host: Host) -> dict[str, str]:
    """Every managed file's digest with mode and owner, and every link's target, by path."""
    # One sha256sum for many files: one for each would take minutes where releases have virtual environments.
    # Not every host has all of the places.
    find = f"find $(ls -d {MANAGED} 2>/dev/null) -xdev -not -path '*/__pycache__/*' -type"
    found = {}
    for line in host.check_output(f"{find} l -printf '%p -> %l\n'; {find} f -printf '%p %m %u:%g\n'").splitlines():
        path, told = line.split(" ", 1)
        found[path] = told
    for line in host.check_output(f"{find} f -exec sha256sum {{}} +").splitlines():
        digest, path = line.split("  ", 1)
        found[path] = f"{found.get(path, '')} {digest}"
    return {path: told for path, told in found.items() if not CHANGING.fullmatch(path)}
