"""Base images: one root file system a release, built once and shared by all labs of the machine."""

from __future__ import annotations

import hashlib
import shlex
import shutil
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path

from lab import apt, cgroups, locks, paths
from lab.errors import LabError
from lab.inventory import LOGIN_USER
from lab.paths import say

PACKAGES = (
    "systemd", "systemd-sysv", "dbus", "iproute2", "python3", "openssh-server", "sudo", "ca-certificates", "procps",
    "acl",          # become_user from one unprivileged user to another
    "python3-apt",  # Ansible's apt module, which otherwise installs it on first use
)  # fmt: skip
_SETUP = Path(__file__).with_name("image.sh")
_RECIPE = (
    "--mode=root",
    "--variant=minbase",
    "--format=directory",
    f"--include={','.join(PACKAGES)}",
    # The lists stay, so that a host's first apt update has little to fetch.
    "--skip=cleanup/apt/lists",
    # Speed: a lab host need not survive the outer machine's power cut, and nobody reads its manuals.
    "--dpkgopt=force-unsafe-io",
    "--dpkgopt=path-exclude=/usr/share/man/*",
    "--dpkgopt=path-exclude=/usr/share/info/*",
    "--dpkgopt=path-exclude=/usr/share/doc/*",
    "--dpkgopt=path-include=/usr/share/doc/*/copyright",
)
_UNUSED_AFTER = 30 * 86400.0


def path(release: str) -> Path:
    """Where the image of a release is, or is going to be: named after everything that goes into it."""
    digest = hashlib.sha256("\0".join([release, LOGIN_USER, *_RECIPE, _SETUP.read_text()]).encode())
    return paths.IMAGES / f"{release}-{digest.hexdigest()[:12]}"


def ensure(release: str) -> Path:
    """Return the image of a release, built first if there is none.

    Raises LabError with the end of mmdebstrap's output when the build fails.
    """
    image = path(release)
    if not image.exists():
        paths.IMAGES.mkdir(parents=True, exist_ok=True)
        with locks.hold(_lock(image.name), f"the base image of {release}"):
            if not image.exists():
                _build(release, image)
    return image


def drop_unfinished() -> None:
    """Remove what builds left behind whose lab command was killed; builds that go on are left alone."""
    trees = [tree.name.removeprefix(".").removesuffix(".unfinished") for tree in paths.IMAGES.glob(".*.unfinished")]
    logs = [log.stem for log in paths.RUN.glob("*.log")]
    for name in {*trees, *logs, *cgroups.children("build")}:
        with locks.attempt(_lock(name)) as free:
            if free:
                _discard(name)
                _log(name).unlink(missing_ok=True)


def drop_unused(in_use: Iterable[Path]) -> None:
    """Remove images of other recipes that no host uses and that are older than a month."""
    keep = {path.name for path in in_use}
    for image in paths.IMAGES.glob("*-*"):
        if image.name not in keep and image.stat().st_ctime < time.time() - _UNUSED_AFTER:
            shutil.rmtree(image)


def _lock(name: str) -> Path:
    return paths.RUN / f"{name}.lock"


def _log(name: str) -> Path:
    return paths.RUN / f"{name}.log"


def _unfinished(name: str) -> Path:
    return paths.IMAGES / f".{name}.unfinished"


def _discard(name: str) -> None:
    """Kill what is left of a build (its mounts go with it) and remove its tree."""
    cgroups.kill(f"build/{name}")
    cgroups.remove(f"build/{name}")
    shutil.rmtree(_unfinished(name), ignore_errors=True)


def _build(release: str, image: Path) -> None:
    say(f"Building the base image of Debian {release}: this takes a minute, once on this machine.")
    _discard(image.name)
    target, log = _unfinished(image.name), _log(image.name)
    hook = f'--customize-hook=sh {shlex.quote(str(_SETUP))} "$1" {LOGIN_USER}'
    options = [f"--aptopt={line}" for line in apt.settings()]
    sources = apt.sources(release)
    command = ["unshare", "--mount", "--propagation", "private", "mmdebstrap", *_RECIPE, *options, hook, release]
    # Without sources mmdebstrap goes to its own default mirror.
    command += [str(target), "-"] if sources else [str(target)]
    with log.open("w") as output:
        done = subprocess.run(
            command, input=sources or "", text=True, stdout=output, stderr=subprocess.STDOUT,
            preexec_fn=cgroups.entering(f"build/{image.name}"),
        )  # fmt: skip
    if done.returncode:
        _discard(image.name)
        tail = "\n".join(log.read_text().splitlines()[-15:])
        raise LabError(
            f"The base image of Debian {release} could not be built. mmdebstrap ended with:\n{tail}\n({log})"
        )
    target.rename(image)
    _discard(image.name)
    log.unlink()
