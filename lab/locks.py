"""File locks. The kernel drops them with the process that holds them, so none is ever stale."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from lab.paths import say


@contextmanager
def hold(path: Path, what: str) -> Iterator[None]:
    """Hold a lock, waiting for it if need be; `what` tells the user what another command is busy with."""
    lock = _take(path, fcntl.LOCK_NB)
    if lock is None:
        say(f"Waiting for another lab command, which works on {what} ...")
        lock = _take(path, 0)
    assert lock is not None
    with _released_after(path, lock):
        yield


@contextmanager
def attempt(path: Path) -> Iterator[bool]:
    """Take a lock if it is free: yields whether it was."""
    lock = _take(path, fcntl.LOCK_NB)
    if lock is None:
        yield False
        return
    with _released_after(path, lock):
        yield True


def _take(path: Path, flags: int) -> int | None:
    """The descriptor of the locked file, or None when it is taken and `flags` say not to wait."""
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | flags)
        except BlockingIOError:
            os.close(lock)
            return None
        # Its last holder removes the file: a lock on a removed one is worth nothing.
        with suppress(FileNotFoundError):
            if path.stat().st_ino == os.fstat(lock).st_ino:
                return lock
        os.close(lock)


@contextmanager
def _released_after(path: Path, lock: int) -> Iterator[None]:
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(lock)
