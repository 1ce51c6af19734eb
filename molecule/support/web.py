"""A visitor's browser: cookies, verified TLS, and no DNS."""

from __future__ import annotations

import http.client
import http.cookies
import re
import socket
import ssl
from dataclasses import dataclass, field
from email.message import Message
from pathlib import Path
from urllib.parse import urlencode

from support.cluster import DOMAIN

TIMEOUT = 40


@dataclass(frozen=True)
class Answer:
    """A response: `headers` is case-insensitive."""

    status: int
    headers: Message
    body: bytes

    def __repr__(self) -> str:
        return f"{self.status} {self.headers.get_all('Cache-Status')} {self.headers.items()}"

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def cache(self) -> dict[str, str]:
        """What the last cache says in Cache-Status, by parameter; a mere flag has the value "yes"."""
        members = self.headers.get_all("Cache-Status", [])
        if not members:
            return {}
        parameters = members[-1].split(",")[-1].split(";")[1:]
        return {name.strip(): value.strip() or "yes" for name, _, value in (item.partition("=") for item in parameters)}

    @property
    def is_hit(self) -> bool:
        return "hit" in self.cache


class _Connection(http.client.HTTPSConnection):
    """Connects to an address as if a name had led there."""

    def __init__(self, address: str, port: int, name: str, context: ssl.SSLContext) -> None:
        super().__init__(address, port, timeout=TIMEOUT, context=context)
        self._name, self._tls = name, context

    def connect(self) -> None:
        self.sock = self._tls.wrap_socket(
            socket.create_connection((self.host, self.port), self.timeout), server_hostname=self._name
        )


@dataclass
class Browser:
    """Asks one address; with an `authority` over TLS, else in the clear."""

    address: str
    port: int
    authority: Path | None = None
    host: str = DOMAIN
    cookies: dict[str, str] = field(default_factory=dict)

    @property
    def origin(self) -> str:
        return f"{'https' if self.authority else 'http'}://{self.host}"

    def get(self, path: str, **headers: str) -> Answer:
        return self.request("GET", path, headers=headers)

    def post(self, path: str, fields: dict[str, str] | None = None, **headers: str) -> Answer:
        """Send a form; with the CSRF token where the visitor has one."""
        token = {"csrfmiddlewaretoken": self.cookies["csrftoken"]} if "csrftoken" in self.cookies else {}
        form = {"Content-Type": "application/x-www-form-urlencoded", "Origin": self.origin}
        return self.request("POST", path, urlencode(token | (fields or {})), form | headers)

    def request(self, method: str, path: str, body: str | None = None, headers: dict[str, str] | None = None) -> Answer:
        """One request over a connection of its own; underscores in header names stand for hyphens."""
        sent = {"Host": self.host} | {name.replace("_", "-"): value for name, value in (headers or {}).items()}
        if self.cookies:
            own = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
            sent["Cookie"] = "; ".join(filter(None, [sent.get("Cookie"), own]))
        connection = self._connection()
        try:
            connection.request(method, path, body, sent)
            response = connection.getresponse()
            answer = Answer(response.status, response.headers, response.read())
        finally:
            connection.close()
        self._keep_cookies(answer)
        return answer

    def log_in(self, name: str, password: str) -> None:
        """Through the login page, as a visitor does."""
        assert self.get("/login/").status == 200
        answer = self.post("/login/", {"username": name, "password": password})
        assert answer.status == 302, answer
        assert "sessionid" in self.cookies

    def _connection(self) -> http.client.HTTPConnection:
        if self.authority is None:
            return http.client.HTTPConnection(self.address, self.port, timeout=TIMEOUT)
        return _Connection(self.address, self.port, self.host, ssl.create_default_context(cafile=self.authority))

    def _keep_cookies(self, answer: Answer) -> None:
        for line in answer.headers.get_all("Set-Cookie", []):
            for name, morsel in http.cookies.SimpleCookie(line).items():
                self.cookies[name] = morsel.value
                if morsel["max-age"] == "0" or not morsel.value:
                    del self.cookies[name]


def stylesheet(page: Answer) -> str:
    """The path of the page's style sheet, with its hashed name."""
    found = re.search(r'href="(/static/[^"]+\.css)"', page.text)
    assert found, page.text[:2000]
    return found[1]
