"""What the role restic keeps of the control machine."""

from __future__ import annotations

import base64
import io
import tarfile
from collections.abc import Callable
from pathlib import Path


def archive(directory: str) -> str:
    """A tar archive of an inventory's files, in base64: the same of the same files.

    The files of the directory itself, and all below group_vars and host_vars; of what is hidden nothing.
    """
    root = Path(directory)
    below = [path for name in ("group_vars", "host_vars") for path in (root / name).rglob("*")]
    files = sorted(path for path in [*root.iterdir(), *below] if path.is_file())
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archived:
        for path in files:
            name = path.relative_to(root)
            if any(part.startswith(".") for part in name.parts):
                continue
            content = path.read_bytes()
            entry = tarfile.TarInfo(str(Path(root.name) / name))
            entry.size, entry.mode = len(content), 0o600
            archived.addfile(entry, io.BytesIO(content))
    return base64.b64encode(packed.getvalue()).decode()


class FilterModule:
    """Ansible looks for this name."""

    def filters(self) -> dict[str, Callable[..., object]]:
        """The filters by name."""
        return {"restic_archive": archive}
