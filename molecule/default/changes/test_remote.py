"""Logs of several hosts in one terminal, and a shell."""

from __future__ import annotations

import os
import pty
import secrets
import signal
import subprocess
import sys
from collections.abc import Callable
from threading import Thread

from testinfra.host import Host

from support.cluster import PROJECT, Cluster
from support.wait import eventually
from support.web import Browser


def remote(cluster: Cluster, *arguments: str) -> list[str]:
    return [sys.executable, str(PROJECT / "tools" / "remote.py"), "-i", str(cluster.inventory), *arguments]


def test_a_request_is_seen_in_the_logs_of_its_hosts_and_nothing_is_left(
    cluster: Cluster, web: list[Host], visitor: Browser
) -> None:
    token, seen = secrets.token_hex(8), list[str]()

    def visited(*hosts: str) -> bool:
        assert visitor.get(f"/{token}/{len(seen)}/{secrets.token_hex(4)}").status == 404
        return all(any(line.startswith(f"{host} ") and token in line for line in seen) for host in hosts)

    with subprocess.Popen(
        remote(cluster, "logs", "web:edge"), cwd=PROJECT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    ) as process:  # fmt: skip
        Thread(target=lambda: seen.extend(process.stdout or ()), daemon=True).start()
        try:
            eventually(lambda: visited("web1", "web2", "edge1"))
        finally:
            process.send_signal(signal.SIGINT)
        assert process.wait(timeout=30) == 0, seen
    for host in web:
        eventually(lambda host=host: host.run("pgrep --full 'journalctl --foll[o]w'").rc == 1)
    addresses = "|".join(cluster.addresses[name] for name in ("web1", "web2", "edge1"))
    assert subprocess.run(["pgrep", "--full", f"^ssh .*({addresses}) .*journalctl"], check=False).returncode == 1


def test_a_shell_of_the_application_can_be_talked_to(cluster: Cluster) -> None:
    terminal, theirs = pty.openpty()
    said = ""

    def hears(words: str) -> Callable[[], bool]:
        def heard() -> bool:
            nonlocal said
            said += os.read(terminal, 4096).decode(errors="replace")
            return words in said

        return heard

    with subprocess.Popen(
        remote(cluster, "shell", "web[0]", "--", "shell"), cwd=PROJECT, stdin=theirs, stdout=theirs, stderr=theirs
    ) as process:
        eventually(hears(">>> "))
        os.write(terminal, b"from people.models import Profile; print('there are', 0 * Profile.objects.count())\n")
        eventually(hears("there are 0"))
        os.write(terminal, b"exit()\n")
        assert process.wait(timeout=30) == 0, said
