"""The clone's key pair."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from lab.tests.conftest import REPOSITORY

ASK = """
import sys, pathlib
from lab.sshfiles import SshFiles
print(SshFiles(pathlib.Path(sys.argv[1]), "10.45.9.0").public_key())
"""


def test_labs_that_come_up_at_once_share_one_key_pair(tmp_path: Path) -> None:
    command = [sys.executable, "-c", ASK, str(tmp_path)]
    clones = [
        subprocess.Popen(command, cwd=REPOSITORY, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        for _ in range(8)
    ]
    keys = {clone.communicate()[0].splitlines()[-1] for clone in clones}
    assert keys == {(tmp_path / ".lab" / "id_ed25519.pub").read_text().strip()}
