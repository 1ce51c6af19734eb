"""Who notices what a drill does, beside the visitors: readers, writers, and who asks which database host leads."""

from __future__ import annotations

import http.client
import json
import secrets
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from loadtest.drills.figures import Event
from loadtest.drills.hosts import Hosts
from loadtest.target import LoadError, Target

WRITER = Path(__file__).with_name("writer_host.py")
READS_A_SECOND = 4
READ_LIMIT = 10  # seconds
AGAIN = 1.0  # seconds until a writer whose host is gone is tried again
FIRST_WRITE = 60  # seconds: a manage.py shell takes some to begin


def browser_context() -> ssl.SSLContext:
    """TLS with whatever certificate the site has: that is not what drills are about."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


@dataclass(frozen=True)
class Reader:
    """Asks for a page that no cache can know, over a new connection each time."""

    target: Target
    context: ssl.SSLContext = field(default_factory=browser_context)

    def get(self, path: str, address: str = "", limit: float = READ_LIMIT) -> http.client.HTTPResponse:
        """Get a page from where visitors come in, or from one edge host; raises OSError when that does not answer."""
        connection = http.client.HTTPSConnection(address or self.target.entry, 443, timeout=limit)
        try:
            plain = socket.create_connection((connection.host, connection.port), limit)
            connection.sock = self.context.wrap_socket(plain, server_hostname=self.target.domain)
            connection.request("GET", path, headers={"Host": self.target.domain})
            answer = connection.getresponse()
            answer.read()
        except http.client.HTTPException as error:
            raise OSError(f"{type(error).__name__}: {error}") from error
        finally:
            connection.close()
        return answer

    def read(self) -> Event:
        """One page that the application makes from the database."""
        began = time.time()
        try:
            answer = self.get(f"/?unseen={secrets.token_hex(8)}")
            failure = None if answer.status == 200 else f"status {answer.status}"
        except OSError as error:
            failure = f"{type(error).__name__}: {error}"
        return Event(began, time.time(), failure)

    @contextmanager
    def reading(self) -> Iterator[list[Event]]:
        """Read so many times a second while the block runs, however long each takes."""
        events: list[Event] = []
        over = threading.Event()

        def keep_reading() -> None:
            with ThreadPoolExecutor(READS_A_SECOND * READ_LIMIT * 2) as pool:
                while not over.wait(1 / READS_A_SECOND):
                    pool.submit(lambda: events.append(self.read()))

        with _thread(keep_reading, over):
            yield events


@dataclass
class Writers:
    """One process on each web host that writes; `acknowledged` are the keys of what the database has taken."""

    hosts: Hosts
    events: list[Event] = field(default_factory=list)
    acknowledged: set[str] = field(default_factory=set)
    processes: list[subprocess.Popen[str]] = field(default_factory=list)
    said: str = ""

    @contextmanager
    def writing(self) -> Iterator[Writers]:
        """Write while the block runs, from all web hosts that there are.

        Raises LoadError when no write is acknowledged within a minute.
        """
        over = threading.Event()
        threads = [
            threading.Thread(target=self._keep_writing, args=(name, over)) for name in self.hosts.target.groups["web"]
        ]
        for thread in threads:
            thread.start()
        try:
            deadline = time.monotonic() + FIRST_WRITE
            while not self.acknowledged:
                if time.monotonic() > deadline:
                    raise LoadError(f"No write was acknowledged: {self.said or [e.failure for e in self.events[-3:]]}")
                over.wait(0.1)
            yield self
        finally:
            over.set()
            for process in self.processes:
                if process.poll() is None:
                    process.kill()
            for thread in threads:
                thread.join()

    def _keep_writing(self, name: str, over: threading.Event) -> None:
        command = self.hosts.command(name, "hugproof-manage", "shell", "-v0", "-c", WRITER.read_text())
        while not over.is_set():
            process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
            )
            self.processes.append(process)
            assert process.stdout
            for line in process.stdout:
                self._take(line)
            process.wait()
            over.wait(AGAIN)

    def _take(self, line: str) -> None:
        try:
            key, began, ended, failure = json.loads(line)
        except ValueError:  # not the writer's, or cut where its host died
            self.said = line.strip()
            return
        if failure is None:
            self.acknowledged.add(key)
        self.events.append(Event(began, ended, failure))


@contextmanager
def asking(question: Callable[[], str], changed: Callable[[str], object], every: float = 1.0) -> Iterator[None]:
    """Ask a question again and again while the block runs, and tell of each answer that is not the one before."""
    over = threading.Event()

    def keep_asking() -> None:
        known = question()
        while not over.wait(every):
            if (answer := question()) != known:
                changed(answer)
                known = answer

    with _thread(keep_asking, over):
        yield


@contextmanager
def _thread(target: Callable[[], None], over: threading.Event) -> Iterator[None]:
    thread = threading.Thread(target=target)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
