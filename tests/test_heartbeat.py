"""Systemd hears of uWSGI as long as its master answers, and no longer."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from loading import ROLES, load

PROGRAM = ROLES / "uwsgi_django/files/hugproof_heartbeat.py"
LIMIT = 4  # seconds: the master has half a second for its answer
BEAT = b"WATCHDOG_USEC=4000000\nWATCHDOG=1"
PATIENCE = 60  # seconds, with a busy machine

is_alive = load("uwsgi_django/files/hugproof_heartbeat.py").is_alive


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[socket.socket]:
    """Where systemd hears of its services."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.settimeout(PATIENCE)
        listening.bind(str(tmp_path / "notify"))
        yield listening


@pytest.fixture
def master(tmp_path: Path) -> Iterator[socket.socket]:
    """Where uWSGI's master answers, when it does."""
    with socket.socket(socket.AF_UNIX) as listening:
        listening.settimeout(PATIENCE)
        listening.bind(str(tmp_path / "stats"))
        listening.listen()
        yield listening


@pytest.fixture
def program(tmp_path: Path) -> Path:
    copy = tmp_path / PROGRAM.name
    copy.write_bytes(PROGRAM.read_bytes())
    return copy


@pytest.fixture
def heartbeat(tmp_path: Path, program: Path, systemd: socket.socket) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, str(program), str(tmp_path / "stats"), str(LIMIT)]
    process = subprocess.Popen(command, env=os.environ | {"NOTIFY_SOCKET": str(tmp_path / "notify")})
    yield process
    process.kill()
    process.wait()


def answer(master: socket.socket, text: bytes) -> None:
    """Say something, or nothing, to who asks next, and hang up; one that has not waited for it is none."""
    while True:
        connection, _ = master.accept()
        with connection:
            try:
                connection.sendall(text)
            except BrokenPipeError:
                continue
            return


@pytest.mark.usefixtures("heartbeat")
def test_every_answer_is_a_beat(systemd: socket.socket, master: socket.socket) -> None:
    for _ in range(2):
        answer(master, b"{}")
        assert systemd.recv(100) == BEAT


def test_a_master_that_is_gone_or_hangs_or_says_nothing_is_not_alive(tmp_path: Path) -> None:
    stats = str(tmp_path / "stats")
    assert not is_alive(stats, PATIENCE)
    with socket.socket(socket.AF_UNIX) as master:
        master.bind(stats)
        assert not is_alive(stats, PATIENCE)
        master.listen()
        assert not is_alive(stats, 0.1)
        master.accept()[0].close()
        command = [sys.executable, "-c", f"import {PROGRAM.stem} as one; print(one.is_alive({stats!r}, {PATIENCE}))"]
        with subprocess.Popen(command, cwd=PROGRAM.parent, stdout=subprocess.PIPE, text=True) as asking:
            master.accept()[0].close()
            assert asking.communicate()[0].strip() == "False"


def test_it_makes_room_for_another_version_of_itself(
    systemd: socket.socket, master: socket.socket, heartbeat: subprocess.Popen[bytes], program: Path
) -> None:
    answer(master, b"{}")
    assert systemd.recv(100) == BEAT
    program.with_suffix(".new").write_bytes(PROGRAM.read_bytes())
    program.with_suffix(".new").replace(program)
    assert heartbeat.wait(PATIENCE) == 0
