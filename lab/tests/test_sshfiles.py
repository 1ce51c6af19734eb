"""The clone's key pair."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from lab.sshfiles import SshFiles


def test_labs_that_come_up_at_once_share_one_key_pair(tmp_path: Path) -> None:
    clones = [SshFiles(tmp_path, f"10.45.{number}.0") for number in range(8)]
    with ThreadPoolExecutor(len(clones)) as pool:
        keys = set(pool.map(SshFiles.public_key, clones))
    assert keys == {(tmp_path / ".lab" / "id_ed25519.pub").read_text().strip()}
