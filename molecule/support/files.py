"""What the roles manage on a host, by content."""

from __future__ import annotations

from testinfra.host import Host

from support.cluster import APPLICATION

# Everything below these; nothing but the roles and their packages writes there.
MANAGED = f"/etc /usr/local /srv/{APPLICATION}"
# Written by programs at run time, in /etc for historical reasons, or by Python when it compiles.
CHANGING = r"/etc/(resolv.conf|mtab|ld.so.cache|.*-|\.pwd\.lock|machine-id)$|/__pycache__/"


def digests(host: Host) -> dict[str, str]:
    """Every managed file's digest with mode and owner, and every link's target, by path."""
    files = host.check_output(
        f"find {MANAGED} -xdev -type f -printf '%p %m %u:%g ' -exec sha256sum {{}} ';' -o -type l -printf '%p -> %l\\n'"
        f" | grep -Ev '^({CHANGING})' | grep -v /__pycache__/"
    )
    return dict(line.split(" ", 1) for line in files.splitlines())
