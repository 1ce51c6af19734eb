"""The hosts' cgroups: how they are told apart, limited, and killed without leaving an orphan.

Paths are relative to `hugproof-lab` in the cgroup2 hierarchy. CPU limits live there too where the machine has the
cpu controller in it, else in the same path of the version 1 cpu hierarchy.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path

from lab.errors import LabError

TOP = "hugproof-lab"
_PERIOD = 100_000  # microseconds, the kernel's default
_CLONE_NEWNS = 0x20000


@cache
def hierarchy() -> Path:
    """Where the cgroup2 hierarchy is mounted; where it is not, it is mounted for this process alone.

    Raises LabError when the kernel does not let us.
    """
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, where, kind, *_ = line.split()
        if kind == "cgroup2":
            return Path(where)
    if ctypes.CDLL(None, use_errno=True).unshare(_CLONE_NEWNS):
        raise LabError(f"No mount namespace of our own: {os.strerror(ctypes.get_errno())}.")
    where = "/sys/kernel"
    for command in (["mount", "--make-rprivate", "/"], ["mount", "-t", "cgroup2", "none", where]):
        if (done := subprocess.run(command, capture_output=True, text=True)).returncode:
            raise LabError(f"The cgroup2 hierarchy can not be mounted: {done.stderr.strip()}")
    return Path(where)


@cache
def _v1_cpu() -> Path | None:
    """The version 1 cpu hierarchy, where the machine has one."""
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, where, kind, options, *_ = line.split()
        if kind == "cgroup" and "cpu" in options.split(","):
            return Path(where)
    return None


def _v2(path: str) -> Path:
    return hierarchy() / TOP / path


def children(path: str) -> list[str]:
    """The names of the cgroups right below one; none where it does not exist."""
    return sorted(entry.name for entry in _v2(path).glob("*/"))


def populated(path: str) -> bool:
    """Whether any process lives in a cgroup or below."""
    try:
        return "populated 1" in (_v2(path) / "cgroup.events").read_text()
    except FileNotFoundError:
        return False


def processes(path: str) -> list[int]:
    """The process ids in a cgroup and below."""
    found: list[int] = []
    for file in _v2(path).rglob("cgroup.procs"):
        try:
            found += [int(pid) for pid in file.read_text().split()]
        except OSError:  # gone meanwhile
            continue
    return found


def entering(path: str, cpus: float | None = None) -> Callable[[], None]:
    """Make a cgroup with a `leaf` and return what moves a process into that, for subprocess's preexec_fn."""
    leaf = _v2(path) / "leaf"
    for last_try in (False, False, True):
        try:
            leaf.mkdir(parents=True, exist_ok=True)
            break
        except FileNotFoundError:  # another lab has just removed the empty top
            if last_try:
                raise
    limit(path, cpus)
    files = [leaf / "cgroup.procs"]
    if v1 := _v1_cpu():
        files.append(v1 / TOP / path / "cgroup.procs")

    def enter() -> None:
        for file in files:
            file.write_text(str(os.getpid()))

    return enter


def can_limit() -> bool:
    """Whether this machine has a cpu controller to limit hosts with."""
    return _v1_cpu() is not None or "cpu" in (hierarchy() / "cgroup.controllers").read_text().split()


def limit(path: str, cpus: float | None) -> None:
    """Give a cgroup that many CPUs' time, or all it can get for None.

    Raises LabError when a limit is asked for and the machine has no cpu controller for it.
    """
    quota = None if cpus is None else int(cpus * _PERIOD)
    if v1 := _v1_cpu():
        directory = v1 / TOP / path
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "cpu.cfs_quota_us").write_text(str(-1 if quota is None else quota))
        return
    if quota is not None:
        _enable_v2_cpu(path)
    if (file := _v2(path) / "cpu.max").exists():
        file.write_text(f"{'max' if quota is None else quota} {_PERIOD}")


def _enable_v2_cpu(path: str) -> None:
    directory = hierarchy()
    for name in (TOP, *Path(path).parts):
        try:
            (directory / "cgroup.subtree_control").write_text("+cpu")
        except OSError as error:
            raise LabError(
                f"lab_cpus: this machine's cgroups can not limit CPU time ({directory}: {error})."
            ) from error
        directory /= name


def kill(path: str, patience: float = 20.0) -> None:
    """Kill every process in a cgroup and below at once, and wait until they are gone.

    Raises LabError when one is still there after `patience` seconds.
    """
    deadline = time.monotonic() + patience
    while populated(path):
        (_v2(path) / "cgroup.kill").write_text("1")
        time.sleep(0.02)
        if time.monotonic() > deadline:
            raise LabError(f"Processes {processes(path)} can not be killed: {_v2(path)}.")


def remove(path: str) -> None:
    """Remove an empty cgroup with all below it, and `hugproof-lab` itself when nothing is left in it."""
    roots = [_v2("")]
    if v1 := _v1_cpu():
        roots.append(v1 / TOP)
    for root in roots:
        for directory, _, _ in os.walk(root / path, topdown=False):
            Path(directory).rmdir()
        for parent in (root / path).parents:
            if not parent.is_relative_to(root):
                break
            with suppress(OSError):  # not there, or still in use
                parent.rmdir()
