#!/usr/bin/python
"""Ansible module: pack a directory of source code into an archive whose bytes depend on its content alone."""

from __future__ import annotations

DOCUMENTATION = r"""
module: source_archive
short_description: Pack a directory of source code reproducibly
description:
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
  name:
    description: First part of the archive's file name.
    type: str
    required: true
  requirements:
    description: The requirements file, relative to C(path).
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
requirements:
  description: SHA-256 of the requirements file and those it includes; C(digest) where they install from the source.
  type: str
  returned: success
"""

import gzip
import hashlib
import io
import os
import re
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

# A line of a requirements file that names another one; and one that installs from a path or URL.
INCLUDED = re.compile(r"(?:-r|-c|--requirement|--constraint)[ =]?\s*(\S+)")
FROM_SOURCE = re.compile(r"[./]|-e|--editable|--find-links|-f|file:|\S+\s*@\s*(?:file:|[./])|[^\s;]+/[^\s;]*$")


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


def pack(root: Path) -> bytes:
    """Return an uncompressed tar of the tree: owner, time and order of the files leave no trace in it."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name in source_files(root):
            member = archive.gettarinfo(root / name, arcname=str(name))
            member.uid = member.gid = 0
            member.uname = member.gname = "root"
            member.mtime = 0
            member.mode = 0o755 if member.mode & 0o100 else 0o644
            if member.isreg():
                with (root / name).open("rb") as content:
                    archive.addfile(member, content)
            else:
                archive.addfile(member)
    return buffer.getvalue()


def requirements_digest(root: Path, name: str, whole: str) -> str:
    """Return what tells apart what two requirements files install: their text, with that of the files they include.

    That is `whole`, the digest of all of the source, where a line names a path. A file that is not there counts as
    empty: installing tells.
    """
    digest, waiting, seen = hashlib.sha256(), [root / name], set()
    while waiting:
        file = waiting.pop(0)
        if file in seen or not file.is_file():
            continue
        seen.add(file)
        content = file.read_bytes()
        digest.update(hashlib.sha256(content).digest())
        for line in map(str.strip, content.decode(errors="replace").splitlines()):
            if included := INCLUDED.match(line):
                waiting.append(file.parent / included[1])
            elif FROM_SOURCE.match(line):
                return whole
    return digest.hexdigest()


def main() -> None:
    """Run as an Ansible module."""
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "destination": {"type": "path", "required": True},
            "name": {"type": "str", "required": True},
            "requirements": {"type": "str", "required": True},
        },
        supports_check_mode=True,
    )
    root = Path(module.params["path"])
    if not root.is_dir():
        module.fail_json(msg=f"There is no directory {root}.")
    content = pack(root)
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
    requirements = requirements_digest(root, module.params["requirements"], digest)
    module.exit_json(changed=False, archive=str(archive), digest=digest, requirements=requirements)


if __name__ == "__main__":
    main()
