"""What the hosts downloaded, kept for the next ones: Debian packages, and pip's cache of the roles.

Files pass between the cache and a host's disk as hard links, so they cost neither time nor space. Both apt and pip put
a file in place by renaming a finished one, never by writing into it; no directory is shared.
"""

from __future__ import annotations

import os
import shutil
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

from lab import paths

_DEBS = Path("var/cache/apt/archives")
_PIP = Path("var/cache/hugproof/pip")
DIRECTORIES = (_DEBS, _PIP)
_UNUSED_AFTER = 30 * 86400.0


def seed(release: str, upper: Path) -> None:
    """Give a disk that is not in use what the cache has for its release."""
    cache = paths.PACKAGES / release
    for file in _debs(cache):
        _link(file, upper / file.relative_to(cache))
    for file in _pip_files(cache):
        target = upper / file.relative_to(cache)
        _open_directories(target.parent, upper / _PIP)
        _link(file, target)


def harvest(release: str, upper: Path) -> None:
    """Take into the cache what a host has downloaded since; the host may be running."""
    cache = paths.PACKAGES / release
    (cache / _DEBS).mkdir(parents=True, exist_ok=True)
    (cache / _PIP).mkdir(parents=True, exist_ok=True)
    for file in (*_debs(upper), *_pip_files(upper)):
        target = cache / file.relative_to(upper)
        if not target.exists() and _complete(file):
            target.parent.mkdir(parents=True, exist_ok=True)
            _link(file, target)
            os.chown(target, 0, 0)
            target.chmod(0o644)
            os.utime(target, (time.time(), target.stat().st_mtime))


def drop_unused() -> None:
    """Remove what no host has read for a month."""
    if not paths.PACKAGES.exists():
        return
    for release in paths.PACKAGES.iterdir():
        for file in (*_debs(release), *_pip_files(release)):
            if file.stat().st_atime < time.time() - _UNUSED_AFTER:
                file.unlink(missing_ok=True)


def _debs(root: Path) -> Iterator[Path]:
    return (file for file in (root / _DEBS).glob("*.deb") if file.is_file() and not file.is_symlink())


def _pip_files(root: Path) -> Iterator[Path]:
    return (file for file in (root / _PIP).rglob("*") if file.is_file() and not file.is_symlink())


def _complete(file: Path) -> bool:
    """Whether a file is one that its writer has finished with; a wheel may have been cut by a kill."""
    if file.suffix == ".tmp" or file.name.startswith("."):
        return False
    return file.suffix != ".whl" or zipfile.is_zipfile(file)


def _open_directories(directory: Path, top: Path) -> None:
    """Make pip's directories writable for any user: the roles build as different ones."""
    directory.mkdir(parents=True, exist_ok=True)
    while directory.is_relative_to(top):
        directory.chmod(0o777)
        directory = directory.parent


def _link(source: Path, target: Path) -> None:
    """A second name for a file, or a copy where it would cross file systems; a file that is there stays."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists():
        return
    try:
        os.link(source, target)
    except FileExistsError:
        return
    except FileNotFoundError:  # gone meanwhile: a host's apt-get clean, or another lab's drop_unused
        return
    except OSError:
        partial = target.with_name(f".{target.name}.{os.getpid()}.tmp")
        shutil.copy2(source, partial)
        partial.rename(target)
