"""What passes between the hosts' disks and the package cache."""

from __future__ import annotations

import os
import time
import zipfile
from pathlib import Path

import pytest

from lab import packages, paths

DEB = "var/cache/apt/archives/hello_1_amd64.deb"
PIP = "var/cache/hugproof/pip"


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A disk with a package that a host has downloaded."""
    monkeypatch.setattr(paths, "PACKAGES", tmp_path / "packages")
    monkeypatch.setattr(os, "chown", lambda *_: None)
    return _write(tmp_path / "disk", DEB)


def _write(root: Path, name: str, content: bytes = b"content") -> Path:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_bytes(content)
    return root


def test_what_one_host_downloaded_the_next_one_of_its_release_has_at_no_cost(disk: Path, tmp_path: Path) -> None:
    packages.harvest("trixie", disk)
    packages.seed("trixie", tmp_path / "next")
    packages.seed("bookworm", tmp_path / "other")
    assert (tmp_path / "next" / DEB).samefile(disk / DEB)
    assert not (tmp_path / "other" / DEB).exists()


def test_unfinished_downloads_are_not_taken(disk: Path) -> None:
    _write(disk, "var/cache/apt/archives/partial/cut_1_amd64.deb")
    _write(disk, f"{PIP}/http-v2/a/.body.tmp")
    _write(disk, f"{PIP}/wheels/a/cut-1-py3-none-any.whl", b"PK\3\4 cut short")
    packages.harvest("trixie", disk)
    assert [file.name for file in paths.PACKAGES.rglob("*") if file.is_file()] == ["hello_1_amd64.deb"]


def test_pip_s_directories_are_open_to_any_build_user_and_its_wheels_are_kept(disk: Path, tmp_path: Path) -> None:
    wheel = f"{PIP}/wheels/a/b/whole-1-py3-none-any.whl"
    _write(disk, wheel)
    with zipfile.ZipFile(disk / wheel, "w") as archive:
        archive.writestr("whole.py", "")
    packages.harvest("trixie", disk)
    packages.seed("trixie", tmp_path / "next")
    parents = [parent for parent in Path(wheel).parents if parent.is_relative_to(PIP)]
    assert {(tmp_path / "next" / parent).stat().st_mode & 0o777 for parent in parents} == {0o777}
    assert zipfile.is_zipfile(tmp_path / "next" / wheel)


def test_what_no_host_read_for_a_month_is_dropped(disk: Path) -> None:
    packages.harvest("trixie", disk)
    packages.drop_unused()
    cached = paths.PACKAGES / "trixie" / DEB
    assert cached.exists()
    os.utime(cached, (time.time() - 31 * 86400, time.time()))
    packages.drop_unused()
    assert not cached.exists()
