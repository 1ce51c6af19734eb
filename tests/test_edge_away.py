"""An edge host that was away makes its pages stale, once; one that was not leaves them alone."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Thread

import pytest
from loading import load

away = load("varnish_edge/files/hugproof_edge_away.py")
PATIENCE = 60  # seconds, with a busy machine


class Varnish:
    """Where purges go to: says what it has been asked."""

    def __init__(self, place: Path) -> None:
        self.asked: list[str] = []
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(str(place))
        self._listening.listen()
        Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            with self._listening.accept()[0] as asking:
                self.asked.append(asking.recv(4096).decode())
                asking.sendall(b"HTTP/1.1 200 Purged\r\nContent-Length: 0\r\n\r\n")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "purge.sock"


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Let seconds pass, by the clock that nobody sets and by the other one."""
    seconds = [100.0, 1000.0]
    monkeypatch.setattr(away, "clocks", lambda: tuple(seconds))

    def pass_by(steady: float, told: float | None = None) -> None:
        seconds[0] += steady
        seconds[1] += steady if told is None else told

    return pass_by


@pytest.fixture
def silent() -> Iterator[tuple[str, Callable[[], None]]]:
    """A witness that does not answer: its queue is full. And what makes it answer."""
    with socket.socket() as listening, socket.socket() as first:
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        first.connect(listening.getsockname())

        def answer() -> None:
            listening.listen(100)

        yield f"127.0.0.1/{listening.getsockname()[1]}", answer


@pytest.mark.parametrize("passed", [(away.AWAY,), (1, 60)], ids=["stood still", "the clock was set"])
def test_a_host_that_stood_still_purges_once(
    place: Path, later: Callable[..., None], passed: tuple[float, ...]
) -> None:
    varnish, watch = Varnish(place), away.Watch("people.test", str(place), ())
    later(away.AWAY - 1)
    assert (watch.look(), varnish.asked) == ("", [])
    later(*passed)
    assert watch.look().endswith(" s: every page is stale")
    [asked] = varnish.asked
    assert asked.startswith("PURGE / HTTP/1.1\r\nHost: people.test\r\n")
    assert "\r\nX-Purge: everything\r\n" in asked
    assert (watch.look(), len(varnish.asked)) == ("", 1)


def test_a_purge_that_fails_is_told_and_done_later(place: Path, later: Callable[..., None]) -> None:
    watch = away.Watch("people.test", str(place), ())
    later(60)
    fault = watch.look()
    assert fault.startswith("The pages can't be made stale: curl: ")
    later(1)
    assert watch.look() == fault
    varnish = Varnish(place)
    assert watch.look() == "Away for 61 s: every page is stale"
    assert len(varnish.asked) == 1


def test_a_host_that_nobody_answers_purges_when_somebody_does(
    place: Path, later: Callable[..., None], silent: tuple[str, Callable[[], None]]
) -> None:
    witness, answer = silent
    varnish, watch = Varnish(place), away.Watch("people.test", str(place), (f"{witness},{witness}", witness))
    later(60)
    assert (watch.look(), varnish.asked) == ("", [])
    answer()
    assert watch.look() == "Away for 60 s: every page is stale"


def test_who_refuses_is_reached_and_so_is_one_of_a_later_list(
    place: Path, later: Callable[..., None], silent: tuple[str, Callable[[], None]]
) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        refusing = f"127.0.0.1/{unused.getsockname()[1]}"
        watch = away.Watch("people.test", str(place), (silent[0], f"{silent[0]},{refusing}"))
        for _ in range(3):
            later(away.AWAY - 1)
            assert watch.look() == ""
