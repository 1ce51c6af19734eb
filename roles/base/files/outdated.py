"""Print what of this host still runs what an upgrade has replaced: a line for each, `reboot` or the name of a unit."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

REPLACED = re.compile(r" /(usr|lib)\S*/\S+ \(deleted\)$", re.MULTILINE)
UNIT = re.compile(r"/([^/]+\.(?:service|scope))(?:/|$)", re.MULTILINE)


def old_kernel() -> bool:
    """Whether a later kernel of the running one's flavour is installed; a container has none."""
    version, _, flavour = os.uname().release.rpartition("-")
    installed = [path.name.removeprefix("vmlinuz-") for path in Path("/boot").glob("vmlinuz-*")]
    versions = [name.removesuffix(f"-{flavour}") for name in installed if name.endswith(f"-{flavour}")]
    command = ["sort", "--version-sort"]
    ordered = subprocess.run(command, input="\n".join(versions), capture_output=True, text=True, check=True).stdout
    return bool(versions) and ordered.split()[-1] != version


def old_units() -> set[str]:
    """The units with a process that has mapped a file which is no more; people's sessions end by themselves."""
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            mapped, group = (process / "maps").read_text(errors="replace"), (process / "cgroup").read_text()
        except OSError:  # it has ended
            continue
        if REPLACED.search(mapped) and "/user.slice/" not in group and (unit := UNIT.search(group)):
            found.add(unit[1])
    return found


if __name__ == "__main__":
    for line in [*(["reboot"] if Path("/run/reboot-required").exists() or old_kernel() else []), *sorted(old_units())]:
        print(line)
