"""Locust at work on a real server of this machine."""

from __future__ import annotations

import http.server
import itertools
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from loadtest.load import Load, Plan, traffic
from loadtest.mixes import due
from loadtest.results import summary
from loadtest.target import LoadError, Target
from loadtest.visitors import HEAD, come

POLL_SECONDS = 0.1


class Page(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/" else 404)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")
        self.server.served += 1  # type: ignore[attr-defined]

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[http.server.ThreadingHTTPServer]:
    found = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page)
    found.served = 0  # type: ignore[attr-defined]
    thread = threading.Thread(target=found.serve_forever)
    thread.start()
    yield found
    found.shutdown()
    thread.join()
    found.server_close()


@pytest.fixture
def plan(server: http.server.ThreadingHTTPServer, tmp_path: Path) -> Plan:
    """A user's own plan, for the server."""
    file = tmp_path / "plan.py"
    file.write_text(
        "from locust import constant, task\n"
        "from locust.contrib.fasthttp import FastHttpUser\n"
        "class Somebody(FastHttpUser):\n"
        "    wait_time = constant(0.05)\n"
        "    @task\n"
        "    def go(self):\n"
        f"        self.client.get('http://127.0.0.1:{server.server_port}/', name='page')\n"
    )
    return Plan(file, visitors=())


def at_the_end_of_a_worker(plan: Plan, statement: str) -> None:
    """Let every worker of the generator do something when its users have stopped."""
    with plan.file.open("a") as file:
        file.write(
            "import os\n"
            "import gevent\n"
            "from locust import events\n"
            "from locust.runners import WorkerRunner\n"
            "def at_end(environment, **_):\n"
            "    if isinstance(environment.runner, WorkerRunner):\n"
            f"        {statement}\n"
            "events.test_stop.add_listener(at_end)\n"
        )


@pytest.fixture
def target(tmp_path: Path) -> Target:
    members = {group: ["one"] for group in ("db", "cache", "web", "edge")}
    return Target(tmp_path, "people.test", "people", members, {"one": "127.0.0.1"}, {}, {})


@pytest.mark.parametrize(("workers", "slow"), [(1, 0), (2, 0), (2, 2)])
def test_what_all_processes_of_the_generator_saw_adds_up(
    server: http.server.ThreadingHTTPServer, target: Target, plan: Plan, workers: int, slow: int
) -> None:
    """Also if a process is slow to end: a generator that is overloaded."""
    at_the_end_of_a_worker(plan, f"gevent.sleep({slow})")
    with traffic(target, "uwsgi", plan, Load(users=4, seconds=3, workers=workers)) as running:
        running.wait()
    counted = summary(running.recorded)["page"]
    assert counted["failed"] == 0
    assert 0 < counted["requests"] <= server.served  # type: ignore[attr-defined]
    assert counted["requests"] >= server.served - 4  # type: ignore[attr-defined]


def test_without_the_counts_of_a_process_there_is_no_result(
    target: Target, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rather than figures that lack the failures that it has seen."""
    at_the_end_of_a_worker(plan, "os._exit(0)")
    monkeypatch.setenv("LOADTEST_GATHER", "1")
    wanted = Load(users=2, seconds=2, workers=2)
    with (
        pytest.raises(LoadError, match="2 of the generator's processes"),
        traffic(target, "uwsgi", plan, wanted) as running,
    ):
        running.wait()


def test_what_visitors_meet_with_is_told_while_they_come(
    server: http.server.ThreadingHTTPServer, target: Target, plan: Plan, capsys: pytest.CaptureFixture[str]
) -> None:
    wanted = Load(users=4, seconds=3, live=0.5)
    assert come(target, "uwsgi", plan, wanted, profiles=0) == 0
    head, *lines, total = capsys.readouterr().out.splitlines()
    assert head == HEAD
    assert len(lines) > 1
    answered = int(total.removeprefix("0 of ").removesuffix(" requests failed."))
    assert 0 < answered <= server.served  # type: ignore[attr-defined]


def test_visitors_who_meet_with_nobody_say_so(
    server: http.server.ThreadingHTTPServer, target: Target, plan: Plan, capsys: pytest.CaptureFixture[str]
) -> None:
    plan.file.write_text(plan.file.read_text().replace("/', name", "/nowhere', name"))
    assert come(target, "uwsgi", plan, Load(users=1, seconds=2, live=0.5), profiles=0) == 1
    assert "/nowhere: code=404" in capsys.readouterr().out


def test_the_load_stops_at_once_when_the_user_interrupts(target: Target, plan: Plan) -> None:
    with pytest.raises(KeyboardInterrupt), traffic(target, "uwsgi", plan, Load(users=4, seconds=600)) as running:
        raise KeyboardInterrupt
    assert running.process.poll() is not None


def test_the_load_ends_with_who_wanted_it(
    server: http.server.ThreadingHTTPServer, target: Target, plan: Plan, tmp_path: Path
) -> None:
    """Killed, it can't stop it any more."""
    reader, writer = os.pipe()
    wanting = os.fork()
    if not wanting:
        with traffic(target, "uwsgi", plan, Load(users=1, seconds=600)) as running:
            os.write(writer, str(running.process.pid).encode())
            signal.pause()
    generator = int(os.read(reader, 20))
    os.kill(wanting, signal.SIGKILL)
    os.waitpid(wanting, 0)
    deadline = time.monotonic() + 30
    while Path(f"/proc/{generator}/exe").exists() and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
    assert not Path(f"/proc/{generator}/exe").exists()


def test_load_without_an_end_is_refused(target: Target, plan: Plan) -> None:
    with pytest.raises(LoadError, match="must end within"), traffic(target, "uwsgi", plan, Load(seconds=1e6)):
        pass


@pytest.mark.parametrize("share", [0, 0.1, 0.3, 1])
def test_a_step_is_taken_in_its_share_of_the_visits_and_by_the_first(share: float) -> None:
    taken = [number for number in range(1000) if due(share, number)]
    assert len(taken) == share * 1000
    assert taken[:1] == ([0] if share else [])
    # Evenly: no two gaps differ by more than one.
    gaps = {after - before for before, after in itertools.pairwise(taken)}
    assert not gaps or max(gaps) - min(gaps) <= 1
