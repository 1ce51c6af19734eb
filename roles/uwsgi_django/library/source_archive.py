#!/usr/bin/python
"""Ansible module: pack a directory of source code into an archive whose bytes depend on its content alone."""

from __future__ import annotations

DOCUMENTATION = r"""
module: source_archive
short_description: Pack a directory of source code reproducibly
description:
  - The archive has the directory's files below C(source/), and C(beside) them others.
  - Writes C(destination/NAME-DIGEST.tar.gz), where the digest is the SHA-256 of the archive before compression.
  - In a git work tree it takes the files that git tracks or would add; elsewhere all but caches and
    virtual environments.
options:
  path:
    description: The directory to pack.
    type: path
    required: true
  destination:
    description: The directory that gets the archive; made if it is missing.
    type: path
    required: true
  beside:
    description: Further files to pack, by their path in the archive.
    type: dict
    default: {}
  name:
    description: First part of the archive's file name.
    type: str
    required: true
"""

RETURN = r"""
archive:
  description: Path of the archive.
  type: str
  returned: success
digest:
  description: SHA-256 of the uncompressed archive, in hexadecimal.
  type: str
  returned: success
"""

import gzip
import hashlib
import io
import os
import subprocess
import tarfile
import tempfile
import time
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

LEFT_OUT = {".git", ".hg", ".svn", "__pycache__", ".venv", "venv", "node_modules", ".pytest_cache", ".mypy_cache",
            ".ruff_cache", ".tox", ".idea", ".vscode"}  # fmt: skip

# How long an archive that no run asks for is kept.
KEPT_SECONDS = 30 * 24 * 3600


def source_files(root: Path) -> list[Path]:
    """Return the files of a source tree relative to it, sorted; those git ignores are left out where git knows."""
    listing = ["git", "-C", str(root), "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", "."]
    try:
        answer = subprocess.run(listing, capture_output=True, check=True)
        names = {Path(os.fsdecode(name)) for name in answer.stdout.split(b"\0") if name}
    except (OSError, subprocess.CalledProcessError):
        names = {path.relative_to(root) for path in root.rglob("*")}
    return sorted(
        name
        for name in names
        if not LEFT_OUT.intersection(name.parts)
        and name.suffix != ".pyc"
        and ((root / name).is_symlink() or (root / name).is_file())
    )


def pack(root: Path, beside: dict[str, str]) -> bytes:
    """Return an uncompressed tar of the tree and what is beside it: owner, time and order leave no trace in it."""
    files = {f"source/{name}": root / name for name in source_files(root)}
    files |= {name: Path(file) for name, file in sorted(beside.items())}
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, file in files.items():
            member = archive.gettarinfo(file, arcname=name)
            member.uid = member.gid = 0
            member.uname = member.gname = "root"
            member.mtime = 0
            member.mode = 0o755 if member.mode & 0o100 else 0o644
            if member.isreg():
                with file.open("rb") as content:
                    archive.addfile(member, content)
            else:
                archive.addfile(member)
    return buffer.getvalue()


def main() -> None:
    """Run as an Ansible module."""
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "destination": {"type": "path", "required": True},
            "beside": {"type": "dict", "default": {}},
            "name": {"type": "str", "required": True},
        },
        supports_check_mode=True,
    )
    root = Path(module.params["path"])
    if not root.is_dir():
        module.fail_json(msg=f"There is no directory {root}.")
    content = pack(root, module.params["beside"])
    digest = hashlib.sha256(content).hexdigest()
    destination = Path(module.params["destination"])
    archive = destination / f"{module.params['name']}-{digest[:16]}.tar.gz"
    # Also in check mode: the cache is the control machine's own, and what follows refers to the archive.
    if not archive.exists():
        destination.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=destination, delete=False) as temporary:
            temporary.write(gzip.compress(content, mtime=0))
        Path(temporary.name).replace(archive)
    archive.touch()
    for other in destination.glob(f"{module.params['name']}-*.tar.gz"):
        if time.time() - other.stat().st_mtime > KEPT_SECONDS:
            other.unlink(missing_ok=True)
    module.exit_json(changed=False, archive=str(archive), digest=digest)


if __name__ == "__main__":
    main()
