"""Systemd hears of uWSGI as long as its master answers, and no longer."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PROGRAM = Path(__file__).resolve().parents[1] / "roles" / "uwsgi_django" / "files" / "hugproof_heartbeat.py"
LIMIT = 0.4  # seconds
BEAT = b"WATCHDOG_USEC=400000\nWATCHDOG=1"


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[socket.socket]:
    """Where systemd hears of its services."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        yield listening


@pytest.fixture
def master(tmp_path: Path) -> Iterator[socket.socket]:
    """Where uWSGI's master answers, when it does."""
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "stats"))
        listening.listen()
        yield listening


@pytest.fixture
def heartbeat(tmp_path: Path, systemd: socket.socket, master: socket.socket) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, str(PROGRAM), str(tmp_path / "stats"), str(LIMIT)]
    process = subprocess.Popen(command, env=os.environ | {"NOTIFY_SOCKET": str(tmp_path / "notify")})
    yield process
    process.kill()
    process.wait()


def asked(master: socket.socket, answer: bytes) -> None:
    """The master is asked, and says something or nothing before it hangs up."""
    connection, _ = master.accept()
    with connection:
        connection.sendall(answer)


@pytest.mark.usefixtures("heartbeat")
def test_an_answer_is_a_beat_and_silence_is_none(systemd: socket.socket, master: socket.socket) -> None:
    for _ in range(3):
        asked(master, b"{}")
        assert systemd.recv(100) == BEAT
    # Asked again, so that what it made of the two before is said: one hung up, one never answered.
    asked(master, b"")
    with master.accept()[0], master.accept()[0]:
        systemd.setblocking(False)
        with pytest.raises(BlockingIOError):
            systemd.recv(100)


def test_a_master_that_is_gone_is_waited_for(
    systemd: socket.socket, master: socket.socket, heartbeat: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    asked(master, b"{}")
    assert systemd.recv(100) == BEAT
    (tmp_path / "stats").unlink()
    with socket.socket(socket.AF_UNIX) as again:
        again.bind(str(tmp_path / "stats"))
        again.listen()
        asked(again, b"{}")
        assert systemd.recv(100) == BEAT
    assert heartbeat.poll() is None
