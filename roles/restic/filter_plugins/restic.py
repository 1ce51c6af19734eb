"""What the role restic keeps of the control machine."""

from __future__ import annotations

import base64
import io
import tarfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path


def archive(sources: Iterable[str]) -> str:
    """A tar archive of an inventory, in base64: the same of the same files.

    `sources` are paths of files and directories, as Ansible is given them: it has the files, those of the directories,
    and all below their group_vars and host_vars; nothing of what is hidden, and no lists of hosts (`-i one,two`).
    """
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archived:
        for path in sorted({path for source in sources for path in _files(Path(source))}):
            content = path.read_bytes()
            entry = tarfile.TarInfo(str(path.relative_to(path.anchor)))
            entry.size, entry.mode = len(content), 0o600
            archived.addfile(entry, io.BytesIO(content))
    return base64.b64encode(packed.getvalue()).decode()


def _files(source: Path) -> Iterator[Path]:
    directory = source if source.is_dir() else source.parent
    beside = directory.iterdir() if source.is_dir() else [source]
    below = (path for name in ("group_vars", "host_vars") for path in (directory / name).rglob("*"))
    for path in (*beside, *below):
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(directory).parts):
            yield path.absolute()


class FilterModule:
    """Ansible looks for this name."""

    def filters(self) -> dict[str, Callable[..., object]]:
        """The filters by name."""
        return {"restic_archive": archive}
