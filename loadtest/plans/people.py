"""The talk's load on the people directory: closed (`Visitor`) or with a constant rate of arrivals (`Arrivals`).

A visit is a loop of the talk: the home page, a hot profile, mostly a profile of the long tail, and sometimes a login
with a new profile. Every answer is checked for what it must contain. Cookies are dropped after each visit; the
connection stays, as in the talk's JMeter plan.
"""

from __future__ import annotations

import argparse
import itertools
import os
import random
import re
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import gevent
from geventhttpclient.client import HTTPClientPool
from locust import events, task
from locust.contrib.fasthttp import (
    FastHttpSession,
    FastHttpUser,
    ResponseContextManager,
    insecure_ssl_context_factory,
)

from loadtest.mixes import EVERYTHING, MIXES, due
from loadtest.words import HOT

# A visit that takes every step: wrong credentials and missing profiles are found before the load starts.
TRIAL = bool(os.environ.get("LOADTEST_TRIAL"))
PASSWORD = os.environ.get("LOADTEST_PASSWORD", "")
TOKEN = re.compile(r'name="csrfmiddlewaretoken" value="([^"]+)"')
NEWEST = "Newest people"
PERSON = {
    "email": "load@example.org",
    "company": "Load and Sons",
    "job_title": "Visitor",
    "address": "1 Load Street",
    "website": "https://example.org/",
    "birthday": "1990-01-01",
    "bio": "\n\n".join("We met at a conference and stayed in touch ever since. " * 8 for _ in range(6)),
}


CLASSES = ("home", "hot profile", "profile", "login page", "login", "create", "home as member")
# Visits of this process, counted.
VISITS = itertools.count()


@events.init_command_line_parser.add_listener
def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--mix", choices=sorted(MIXES), default="published", help="the talk's plan, as published or as spoken"
    )
    parser.add_argument("--profiles", type=int, default=500_000, help="profiles in the directory, numbered from 1")
    parser.add_argument("--accounts", type=int, default=50, help="accounts load-1, load-2 and so on")
    parser.add_argument("--only", choices=CLASSES, help="ask for one class of request alone, over and over")
    parser.add_argument("--rate", type=float, default=10.0, help="visits a second, for Arrivals")


class Wrong(Exception):
    """An answer is not what a visitor was to get: the visit ends."""


@dataclass
class Visit:
    """One visitor's way through the site, from a new cookie jar on."""

    client: FastHttpSession
    options: argparse.Namespace

    def go(self) -> None:
        """Take the steps of the mix; an answer that is wrong ends the visit, and is a failure."""
        mix, number = EVERYTHING if TRIAL else MIXES[self.options.mix], next(VISITS)
        try:
            self.page("/", "home", NEWEST)
            self.profile("hot profile", random.randint(1, HOT))
            if due(mix.tail, number):
                self.profile("profile", self.options.profiles if TRIAL else random.randint(1, self.options.profiles))
            if due(mix.login, number):
                self.log_in(self.login_page())
                self.page("/", "home as member", f"{self.create()} is in the directory now.")
        except Wrong:
            pass
        finally:
            self.client.cookiejar.clear()

    def profile(self, name: str, number: int) -> None:
        self.page(f"/profile/{number}/", name, "In the directory since")

    def login_page(self) -> str:
        """Get the page with the form, and return its token."""
        found = TOKEN.search(self.page("/login/", "login page", "csrfmiddlewaretoken"))
        return found[1] if found else ""

    def log_in(self, token: str) -> None:
        account = f"load-{random.randint(1, self.options.accounts)}"
        fields = {"username": account, "password": PASSWORD, "csrfmiddlewaretoken": token}
        self.form("/login/", "login", fields, r"/$")
        if not self.cookie("sessionid"):
            raise Wrong

    def create(self) -> str:
        """Create a profile, and return its name."""
        fields = PERSON | {"name": f"Load {secrets.token_hex(6)}", "csrfmiddlewaretoken": self.cookie("csrftoken")}
        self.form("/profile/new/", "create", fields, r"/profile/[0-9]+/$")
        return fields["name"]

    def page(self, path: str, name: str, text: str) -> str:
        """Get a page that must contain `text`, and return it."""
        with self.client.get(path, name=name, catch_response=True) as answer, checked(answer):
            expect(answer, 200)
            found = answer.text or ""
            if text not in found:
                raise Wrong("a page without what it must contain")
            return found

    def form(self, path: str, name: str, fields: dict[str, str], target: str) -> None:
        """Send a form that must be taken: the answer leads to `target`, a regular expression."""
        headers = {"Referer": f"{self.client.base_url}{path}"}
        with (
            self.client.post(
                path, name=name, data=fields, headers=headers, allow_redirects=False, catch_response=True
            ) as answer,
            checked(answer),
        ):
            expect(answer, 302)
            if not re.search(target, answer.headers.get("Location", "")):
                raise Wrong("a redirect to somewhere else")

    def cookie(self, name: str) -> str:
        """The value of a cookie that the site has set; empty if it has not."""
        return next((str(cookie.value) for cookie in self.client.cookiejar if cookie.name == name), "")


def expect(answer: ResponseContextManager, status: int) -> None:
    """Raise Wrong unless the answer has the status; a site may say that it is too busy, and when to come back."""
    if answer.status_code == 503 and answer.headers.get("Retry-After"):
        raise Wrong("told to come back later")
    if answer.status_code != status:
        raise Wrong(f"status {answer.status_code}, not {status}")


@contextmanager
def checked(answer: ResponseContextManager) -> Iterator[None]:
    """Count the request as failed when its answer is found Wrong."""
    try:
        yield
    except Wrong as error:
        # Without a status there was no answer at all. Else Locust's own words name the URL: a text for each page.
        broken = None if answer.status_code else getattr(answer, "error", None)
        answer.failure(f"{type(broken).__name__}: {broken}" if broken else str(error))
        raise
    answer.success()


# One for all visitors: making one takes a twentieth of a second of CPU time.
TLS = insecure_ssl_context_factory()


class Visitor(FastHttpUser):
    """The talk's closed model: visit after visit, with no pause."""

    ssl_context_factory = staticmethod(lambda: TLS)

    @task
    def visit(self) -> None:
        options = self.environment.parsed_options
        visit = Visit(self.client, options)
        if options.only and not TRIAL:
            self.repeat(visit, options.only)
        else:
            visit.go()

    def repeat(self, visit: Visit, name: str) -> None:
        """One class of request, until something is wrong; what it needs beforehand is asked for once, and counts."""
        anybody = {
            "home": lambda: visit.page("/", name, NEWEST),
            "hot profile": lambda: visit.profile(name, random.randint(1, HOT)),
            "profile": lambda: visit.profile(name, random.randint(1, visit.options.profiles)),
            "login page": visit.login_page,
            # Logging in again takes the token that the last login left.
            "login": lambda: visit.log_in(visit.cookie("csrftoken")),
        }
        member = {"create": visit.create, "home as member": lambda: visit.page("/", name, NEWEST)}
        try:
            if name == "login" or name in member:
                visit.log_in(visit.login_page())
            while True:
                (anybody | member)[name]()
        except Wrong:
            visit.client.cookiejar.clear()


class Arrivals(FastHttpUser):
    """An open model: visits begin at a constant rate, however long the earlier ones take. One of it is enough."""

    @task
    def arrive(self) -> None:
        options = self.environment.parsed_options
        connections = HTTPClientPool(
            concurrency=10_000,
            network_timeout=60,
            connection_timeout=60,
            insecure=True,
            ssl_context_factory=lambda: TLS,
        )
        due = time.perf_counter()
        while True:
            gevent.sleep(max(due - time.perf_counter(), 0))
            gevent.spawn(self.visit, connections)
            late = (time.perf_counter() - due) * 1000
            # A generator that can't keep up measures too little: its own lateness is a class as well.
            self.environment.events.request.fire(
                request_type="", name="lateness of the generator", response_time=late, response_length=0,
                exception=None, response=None, context={},
            )  # fmt: skip
            due += 1 / options.rate

    def visit(self, connections: HTTPClientPool) -> None:
        client = FastHttpSession(
            base_url=self.host, request_event=self.environment.events.request, user=self, client_pool=connections
        )
        Visit(client, self.environment.parsed_options).go()
