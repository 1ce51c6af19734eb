"""What the role restic keeps of the control machine."""

from __future__ import annotations

import base64
import functools
import hashlib
import io
import os
import tarfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path


def archive(sources: Iterable[str], certificate: Mapping[str, str] | None = None) -> str:
    """A tar archive of an inventory, in base64: the same of the same files.

    `sources` are paths of files and directories, as Ansible is given them: it has the files, those of the directories,
    and all below their group_vars and host_vars; nothing of what is hidden or an editor's copy, and no lists of hosts
    (`-i one,two`). The files of `certificate` are in a directory of that name, by these names.
    """
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archived:
        found = {path.resolve(): (name, path) for source in sources for name, path in _files(Path(source))}
        beside = [(f"certificate/{name}", Path(file)) for name, file in sorted((certificate or {}).items())]
        for name, path in sorted(found.values()) + beside:
            content = path.read_bytes()
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), 0o600
            archived.addfile(entry, io.BytesIO(content))
    return base64.b64encode(packed.getvalue()).decode()


@functools.cache
def derived(passphrase: str, purpose: str) -> str:
    """A key for one purpose, from which the passphrase can't be told: 64 hexadecimal digits (RFC 7914, scrypt)."""
    salt = f"hugproof {purpose}".encode()
    return hashlib.scrypt(str(passphrase).encode(), salt=salt, n=2**14, r=8, p=1, dklen=32).hex()


def _files(source: Path) -> Iterator[tuple[str, Path]]:
    """Names in the archive, which begin with the directory's own, and paths."""
    if not source.exists():
        return
    source = source.absolute()
    directory = source if source.is_dir() else source.parent
    beside = list(directory.iterdir()) if source.is_dir() else [source]
    # Links too: several inventories may share their variables.
    below = [
        Path(place, file)
        for name in ("group_vars", "host_vars")
        for place, _, files in os.walk(directory / name, followlinks=True)
        for file in files
    ]
    for path in beside + below:
        inside = path.relative_to(directory)
        if path.is_file() and not any(part.startswith(".") or part.endswith("~") for part in inside.parts):
            yield str(directory.name / inside), path


class FilterModule:
    """Ansible looks for this name."""

    def filters(self) -> dict[str, Callable[..., object]]:
        """The filters by name."""
        return {"restic_archive": archive, "restic_derived": derived}
