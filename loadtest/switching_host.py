"""On a web host, as root: how many requests fail while a uWSGI is switched, by the way it is done.

python3 - HOME USER HOST PATH ROUNDS. Runs uWSGIs of the current release beside the site, on a port of the loopback
interface, asks for PATH at a constant rate, and switches in the midst. Prints JSON: for each way a list of rounds, each
{requests, failed, errors, p50, p99, seconds}; times of requests in milliseconds, from when they were due.
"""

from __future__ import annotations

import http.client
import json
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

PORT = 9090
RATE, SECONDS, BEFORE = 20, 15, 4  # requests a second, for so long, so many seconds of it before the switch
DIRECTORY, DROP_INS = Path("/run/switching"), Path("/run/systemd/system")
LIMIT = 60

home, user, host, path, rounds = Path(sys.argv[1]), *sys.argv[2:5], int(sys.argv[5])
release = (home / "current").resolve()
CONFIGURATION = f"""[uwsgi]
strict = true
master = true
need-app = true
single-interpreter = true
enable-threads = true
lazy-apps = true
chdir = {release}/source
virtualenv = {release}/venv
binary-path = {release}/venv/bin/python
module = {{module}}
processes = 2
thunder-lock = true
listen = 512
protocol = http
hook-master-start = unix_signal:15 gracefully_kill_them_all
reload-mercy = 30
worker-reload-mercy = 30
disable-logging = true
"""
SERVICE = [
    f"--uid={user}", f"--property=EnvironmentFile={release}/environment", f"--working-directory={release}/source",
    "--property=Type=notify", "--property=NotifyAccess=all", "--property=KillMode=mixed",
    "--property=TimeoutStopSec=40",
]  # fmt: skip


def system(*command: str) -> None:
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def start(name: str, *arguments: str, more: tuple[str, ...] = ()) -> None:
    """Start a uWSGI of the release as a unit; returns when systemd takes it for started."""
    uwsgi = [f"{release}/venv/bin/uwsgi", f"--ini={DIRECTORY}/uwsgi.ini", f"--stats={DIRECTORY}/{name}.stats"]
    system("systemd-run", "--quiet", "--collect", f"--unit=switching-{name}", *SERVICE, *more, *uwsgi, *arguments)


def stop(*names: str) -> None:
    subprocess.run(["systemctl", "stop", *(f"switching-{name}" for name in names)], check=False, capture_output=True)


def workers(name: str) -> frozenset[int]:
    """Process ids of the workers that have loaded the application; empty until all have."""
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(5)
            connection.connect(f"{DIRECTORY}/{name}.stats")
            found = json.load(connection.makefile())["workers"]
    except (OSError, ValueError):
        return frozenset()
    loaded = all(worker["apps"] and worker["pid"] for worker in found)
    return frozenset(worker["pid"] for worker in found if loaded)


def ready(name: str, instead_of: frozenset[int] = frozenset()) -> None:
    """Wait until all workers are there, and none of those before. Raises TimeoutError."""
    end = time.monotonic() + LIMIT
    while time.monotonic() < end:
        if (found := workers(name)) and not found & instead_of:
            return
        time.sleep(0.05)
    raise TimeoutError(f"switching-{name} is not ready")


def renewed(name: str, *command: str) -> None:
    """Run a command that replaces the workers of a unit, and wait until they are replaced."""
    before = workers(name)
    system(*command)
    ready(name, before)


def own_socket(name: str = "a", *more: str) -> None:
    start(name, f"--socket=127.0.0.1:{PORT}", *more)
    ready(name)


def activated() -> None:
    start("a", more=(f"--socket-property=ListenStream=127.0.0.1:{PORT}", "--socket-property=Backlog=512"))
    socket.create_connection(("127.0.0.1", PORT)).close()
    ready("a")


def shared() -> None:
    """Let systemd hold a socket that all instances inherit: that of a service which stays, so it starts none itself."""
    for name in ("a", "b"):
        directory = DROP_INS / f"switching-{name}.service.d"
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "socket.conf").write_text("[Service]\nSockets=switching-holder.socket\n")
    system("systemctl", "daemon-reload")
    system("systemd-run", "--quiet", "--collect", "--unit=switching-holder", "--remain-after-exit",
           f"--socket-property=ListenStream=127.0.0.1:{PORT}", "--socket-property=Backlog=512", "true")  # fmt: skip
    system("systemctl", "start", "switching-holder.service")
    start("a")
    ready("a")


def second(*arguments: str) -> None:
    """Start another instance beside the first one, and stop that one when it is ready."""
    start("b", *arguments)
    ready("b")
    stop("a")


def pool() -> None:
    system("systemd-run", "--quiet", "--collect", "--unit=switching-pool", f"--uid={user}", f"{release}/venv/bin/uwsgi",
           "--master", f"--zergpool={DIRECTORY}/zerg.sock:127.0.0.1:{PORT}", "--listen=512")  # fmt: skip
    end = time.monotonic() + LIMIT
    while not (DIRECTORY / "zerg.sock").exists():
        if time.monotonic() > end:
            raise TimeoutError("the zerg pool is not ready")
        time.sleep(0.05)
    start("a", f"--zerg={DIRECTORY}/zerg.sock")
    ready("a")


RESTART = ("systemctl", "restart", "switching-a.service")
WAYS: dict[str, tuple[Callable[[], object], Callable[[], object]]] = {
    "no switch": (own_socket, lambda: None),
    "restart": (own_socket, lambda: renewed("a", *RESTART)),
    "SIGHUP": (own_socket, lambda: renewed("a", "systemctl", "kill", "--kill-whom=main", "--signal=HUP", RESTART[2])),
    "chain reload": (
        lambda: own_socket("a", f"--touch-chain-reload={DIRECTORY}/chain"),
        lambda: renewed("a", "touch", f"{DIRECTORY}/chain"),
    ),
    "restart, socket held by systemd": (activated, lambda: renewed("a", *RESTART)),
    "second instance, SO_REUSEPORT": (
        lambda: own_socket("a", "--reuse-port"),
        lambda: second(f"--socket=127.0.0.1:{PORT}", "--reuse-port"),
    ),
    "second instance, socket held by systemd": (shared, second),
    "second instance, zerg": (pool, lambda: second(f"--zerg={DIRECTORY}/zerg.sock")),
}


def ask(due: float) -> tuple[float, str]:
    """Ask once; the milliseconds since it was due, and what went wrong."""
    connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=30)
    try:
        connection.request("GET", path, headers={"Host": host, "X-Forwarded-Proto": "https"})
        answer = connection.getresponse()
        answer.read()
        trouble = "" if answer.status < http.HTTPStatus.BAD_REQUEST else str(answer.status)
    except (OSError, http.client.HTTPException) as error:
        trouble = type(error).__name__
    finally:
        connection.close()
    return (time.monotonic() - due) * 1000, trouble


def load(begin: float) -> list[tuple[float, str]]:
    """Ask at a constant rate, whether answers come or not."""
    with ThreadPoolExecutor(256) as threads:
        asked = []
        for number in range(RATE * SECONDS):
            due = begin + number / RATE
            time.sleep(max(0.0, due - time.monotonic()))
            asked.append(threads.submit(ask, due))
        return [one.result() for one in asked]


def measure(way: str) -> dict[str, Any]:
    """Switch once in a way, under load."""
    prepare, switch = WAYS[way]
    shutil.rmtree(DIRECTORY, ignore_errors=True)
    DIRECTORY.mkdir()
    module = (release / "uwsgi.ini").read_text().partition("module = ")[2].partition("\n")[0]
    (DIRECTORY / "uwsgi.ini").write_text(CONFIGURATION.replace("{module}", module))
    (DIRECTORY / "chain").touch()
    shutil.chown(DIRECTORY, user)
    try:
        prepare()
        answers: list[tuple[float, str]] = []
        begin = time.monotonic()
        under_load = threading.Thread(target=lambda: answers.extend(load(begin)))
        under_load.start()
        time.sleep(max(0.0, begin + BEFORE - time.monotonic()))
        began = time.monotonic()
        switch()
        seconds = time.monotonic() - began
        under_load.join()
    finally:
        stop("a.socket", "holder.socket", "holder.service", "a.service", "b.service", "pool.service")
        for name in ("a", "b"):
            shutil.rmtree(DROP_INS / f"switching-{name}.service.d", ignore_errors=True)
        system("systemctl", "daemon-reload")
    times = sorted(milliseconds for milliseconds, trouble in answers if not trouble)
    return {
        "requests": len(answers),
        "failed": sum(1 for _, trouble in answers if trouble),
        "errors": Counter(trouble for _, trouble in answers if trouble),
        "p50": round(times[len(times) // 2], 1),
        "p99": round(times[min(len(times) - 1, len(times) * 99 // 100)], 1),
        "seconds": round(seconds, 2),
    }


found: dict[str, list[dict[str, Any]]] = {way: [] for way in WAYS}
for _ in range(rounds):
    for way in WAYS:
        found[way].append(measure(way))
        print(way, found[way][-1], file=sys.stderr, flush=True)
shutil.rmtree(DIRECTORY, ignore_errors=True)
print(json.dumps(found))
