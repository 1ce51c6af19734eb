#!/usr/bin/python3
"""Puts back files that are missing, from a tar archive on stdin. What is there is never changed.

Prints JSON: how many files came back (`back`), how many were there (`there`), and names in whose place is something
else (`in_the_way`). A file appears when it is complete, so that a run that was cut short can be repeated.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tarfile
import tempfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO


@dataclass
class Done:
    """What has become of the archive's files."""

    back: int = 0
    there: int = 0
    in_the_way: list[str] = field(default_factory=list)


def put_back(archive: tarfile.TarFile, below: Path, target: Path) -> Done:
    """Bring what the archive has below a path into the directory `target`."""
    done = Done()
    for member in archive:
        name = Path("/", member.name)
        if not name.is_relative_to(below) or name == below or ".." in name.parts:
            continue
        destination = target / name.relative_to(below)
        try:
            if member.isdir():
                destination.mkdir(parents=True, exist_ok=True)
            elif os.path.lexists(destination):
                done.there += 1
            elif member.issym():
                destination.parent.mkdir(parents=True, exist_ok=True)
                destination.symlink_to(member.linkname)
                done.back += 1
            elif content := archive.extractfile(member):
                destination.parent.mkdir(parents=True, exist_ok=True)
                _write(content, member, destination)
                done.back += 1
        except (FileExistsError, NotADirectoryError):
            done.in_the_way.append(str(name))
    return done


def _write(content: IO[bytes], member: tarfile.TarInfo, destination: Path) -> None:
    """Write a file that appears when it is complete."""
    with tempfile.NamedTemporaryFile(prefix=".hugproof-", dir=destination.parent, delete=False) as file:
        temporary = Path(file.name)
        try:
            shutil.copyfileobj(content, file)
            file.flush()
            temporary.chmod(member.mode & 0o777)
            os.utime(temporary, (member.mtime, member.mtime))
            # Not a rename: somebody may have uploaded it meanwhile.
            destination.hardlink_to(temporary)
        finally:
            temporary.unlink()


def main() -> int:
    """Do what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("below", type=Path, help="the path in the archive whose content is wanted")
    parser.add_argument("target", type=Path, help="the directory that it goes to")
    options = parser.parse_args()
    os.umask(0o027)
    with tarfile.open(fileobj=sys.stdin.buffer, mode="r|") as archive:
        done = put_back(archive, options.below, options.target)
    print(json.dumps(asdict(done)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
