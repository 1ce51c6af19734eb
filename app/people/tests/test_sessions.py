"""Sessions, when memcached answers too late, and when processes know different servers."""

import itertools
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pymemcache
import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.core.cache import cache, caches
from django.core.cache.backends.memcached import PyMemcacheCache
from django.http import HttpRequest, HttpResponse
from django.test import Client, RequestFactory
from pytest_django import Settings

from people.sessions import SAVE, SessionMiddleware, SessionStore
from people.tests.conftest import PASSWORD

pytestmark = pytest.mark.django_db

CREATED = "is in the directory now."


class Memcached:
    """A memcached of the test's own, with one thread: what was sent to it first is done first."""

    def __init__(self) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.address = f"127.0.0.1:{port}"
        self.process = subprocess.Popen(["memcached", "-l", "127.0.0.1", "-p", str(port), "-t", "1", "-u", "nobody"])

    @contextmanager
    def silent(self) -> Iterator[None]:
        """Take connections and requests, and leave them for later."""
        self.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)


@pytest.fixture
def memcached(settings: Settings) -> Iterator[Callable[[], Memcached]]:
    """Starts servers; the first is the site's."""
    servers: list[Memcached] = []

    def start() -> Memcached:
        servers.append(Memcached())
        ask(settings, servers[-1])
        while not cache.add("tests", "run", 5):
            assert servers[-1].process.poll() is None, "memcached does not start"
            another_process()
        return servers[-1]

    yield start
    another_process()
    for server in servers:
        server.process.kill()
        server.process.wait()


def ask(settings: Settings, server: Memcached) -> None:
    """From here on the site is a process that knows this server alone."""
    another_process()
    settings.CACHES = {"default": {**settings.CACHES["default"], "LOCATION": [server.address]}}


def another_process() -> None:
    """What follows is asked over connections of its own, which have seen no failure."""
    PyMemcacheCache.close(caches["default"])
    del caches["default"]


def log_in(client: Client) -> None:
    assert client.post("/login/", {"username": "grace", "password": PASSWORD}).status_code == 302


def seconds_left(server: Memcached, key: str) -> int:
    """How long memcached will have a key."""
    host, port = server.address.split(":")
    with socket.create_connection((host, int(port)), timeout=5) as connection:
        connection.sendall(f"mg {key} t\r\n".encode())
        status, left = connection.makefile().readline().split()
    assert status == "HD"
    return int(left.removeprefix("t"))


def test_what_was_saved_while_memcached_was_silent_is_what_the_next_page_shows(
    memcached: Callable[[], Memcached], client: Client, user: User, profile_data: dict[str, str]
) -> None:
    server = memcached()
    log_in(client)
    another_process()
    assert "grace" in client.get("/").text
    with server.silent():
        assert client.post("/profile/new/", profile_data).status_code == 302
    another_process()
    assert CREATED in client.get("/").text
    another_process()
    assert CREATED not in client.get("/").text


@pytest.mark.parametrize("moment", [1, 2, 3])
def test_whenever_memcached_falls_silent_who_logs_in_is_logged_in(
    memcached: Callable[[], Memcached], client: Client, user: User, monkeypatch: pytest.MonkeyPatch, moment: int
) -> None:
    """At the first order to memcached, the second, the third: there are no more unless one of them fails."""
    server, orders = memcached(), itertools.count(1)

    def order(self: pymemcache.HashClient, *arguments: Any, **rest: Any) -> Any:
        if next(orders) != moment:
            return run(self, *arguments, **rest)
        with server.silent():
            return run(self, *arguments, **rest)

    run = pymemcache.HashClient._run_cmd
    with monkeypatch.context() as patch:
        patch.setattr(pymemcache.HashClient, "_run_cmd", order)
        log_in(client)
    another_process()
    assert "grace" in client.get("/").text
    assert next(orders) > moment, "it was silent"


def test_a_session_goes_on_between_processes_that_know_different_servers(
    memcached: Callable[[], Memcached], client: Client, user: User, profile_data: dict[str, str], settings: Settings
) -> None:
    """As while hosts are added, and when one process takes a server for dead."""
    old, new = memcached(), memcached()
    log_in(client)
    assert "grace" in client.get("/").text
    for saving, reading in ((old, new), (new, old), (old, old)):
        ask(settings, saving)
        assert client.post("/profile/new/", profile_data).status_code == 302
        ask(settings, reading)
        assert CREATED in client.get("/").text
        ask(settings, saving)
        assert CREATED not in client.get("/").text
    assert "grace" in client.get("/").text


def test_a_session_that_was_ended_is_over_for_everybody_who_has_its_cookie(
    memcached: Callable[[], Memcached], client: Client, user: User
) -> None:
    memcached()
    log_in(client)
    thief = Client()
    thief.cookies["sessionid"] = client.cookies["sessionid"].value
    assert "grace" in thief.get("/").text
    assert client.post("/logout/").status_code == 302
    another_process()
    assert "grace" not in thief.get("/").text


def test_a_copy_of_a_session_that_was_ended_while_memcached_was_silent_is_of_no_use_for_long(
    memcached: Callable[[], Memcached], client: Client, user: User
) -> None:
    server = memcached()
    log_in(client)
    thief = Client()
    thief.cookies["sessionid"] = client.cookies["sessionid"].value
    key = SessionStore(thief.cookies["sessionid"].value).cache_key
    for _ in ("saved", "read"):
        assert 200 < seconds_left(server, cache.make_key(key)) <= 300
        cache.delete(key)
        assert "grace" in thief.get("/").text
    with server.silent():
        assert client.post("/logout/").status_code == 302
    another_process()
    cache.delete(key)
    assert "grace" not in thief.get("/").text


def test_a_cookie_follows_a_save_that_a_view_asks_for(memcached: Callable[[], Memcached], client: Client) -> None:
    memcached()
    request = RequestFactory().get("/")

    def view(request: HttpRequest) -> HttpResponse:
        request.session["list"] = []
        request.session.save()
        request.session["list"].append("more")
        request.session.modified = False
        request.session.save()
        return HttpResponse()

    cookie = SessionMiddleware(view)(request).cookies["sessionid"].value
    another_process()
    assert SessionStore(cookie)["list"] == ["more"]
    assert cookie.endswith("." + SessionStore(cookie)[SAVE])


async def asked_without_waiting(cookie: str) -> Any:
    store = SessionStore(cookie)
    await store.aset("seen", await store.aget("name"))
    await store.asave()
    return store


@pytest.mark.django_db(transaction=True)
def test_without_waiting_it_is_the_same(memcached: Callable[[], Memcached]) -> None:
    memcached()
    store = SessionStore()
    store["name"] = "grace"
    store.save()
    older = f"{store.session_key}.{store.known_save}"
    newer = async_to_sync(asked_without_waiting)(older)
    assert newer.known_save != store.known_save
    assert SessionStore(older)["seen"] == "grace"


def test_two_tabs_see_what_either_of_them_saved(
    memcached: Callable[[], Memcached], client: Client, user: User, profile_data: dict[str, str]
) -> None:
    """The cookie of a request that was on its way names an older save: the database is asked."""
    memcached()
    log_in(client)
    tab = Client()
    tab.cookies["sessionid"] = client.cookies["sessionid"].value
    assert client.post("/profile/new/", profile_data).status_code == 302
    assert CREATED in tab.get("/").text
    assert CREATED not in client.get("/").text


@pytest.mark.parametrize("key", ["x", "no key", "k" * 300, "schlüssel" * 4, "0" * 32, "." * 9, "0" * 32 + ".0"])
def test_a_cookie_that_is_no_key_is_nobodys(memcached: Callable[[], Memcached], client: Client, key: str) -> None:
    memcached()
    client.cookies["sessionid"] = key
    answer = client.get("/")
    assert answer.status_code == 200
    assert "Log in" in answer.text


def test_a_key_without_a_save_is_looked_up_in_the_database(
    memcached: Callable[[], Memcached], client: Client, user: User
) -> None:
    memcached()
    log_in(client)
    key, dot, save = client.cookies["sessionid"].value.partition(".")
    assert (len(key), dot, len(save)) == (32, ".", 8)
    for cookie in (key, f"{key}.", f"{key}.another1"):
        client.cookies["sessionid"] = cookie
        assert "grace" in client.get("/").text
    Session.objects.all().delete()
    client.cookies["sessionid"] = key
    assert "grace" not in client.get("/").text
