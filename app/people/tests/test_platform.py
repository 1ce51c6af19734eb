"""What the site needs of its surroundings, and what it does without them."""

import os
import socket
import subprocess
import sys

import pytest
from django.conf import settings
from django.db import connection
from django.test import Client
from pytest_django import Settings

from people.tests.conftest import MakeProfile

SITE = {
    "DJANGO_SECRET_KEY": "k" + "0123456789abcdefghijklmnopqrstuvwxyz" * 2,
    "DJANGO_ALLOWED_HOSTS": "people.example.org",
    "DJANGO_SETTINGS_MODULE": "config.settings",
}


def manage(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run manage.py as a host does, with nothing of this run's Django settings."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("DJANGO_")}
    return subprocess.run(
        [sys.executable, settings.BASE_DIR / "manage.py", *arguments],
        env={**inherited, **SITE, "DJANGO_STATIC_ROOT": settings.STATIC_ROOT, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def connections_so_far() -> int:
    """How many connections memcached has accepted since it started."""
    host, port = settings.CACHES["default"]["LOCATION"][0].rsplit(":", 1)
    with socket.create_connection((host, int(port)), timeout=5) as server:
        server.sendall(b"stats\r\n")
        answer = b""
        while not answer.endswith(b"END\r\n"):
            answer += server.recv(65536)
    return int(dict(line.split()[1:3] for line in answer.decode().splitlines()[:-1])["total_connections"])


def test_the_deployment_check_has_no_complaint() -> None:
    result = manage("check", "--deploy", "--fail-level", "WARNING", DJANGO_HTTPS="true")
    assert result.returncode == 0, result.stderr
    assert "no issues" in result.stdout


def test_every_change_of_a_model_has_its_migration() -> None:
    result = manage("makemigrations", "--check", "--dry-run")
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DJANGO_SECRET_KEY", ""),
        ("DJANGO_DEBUG", "maybe"),
        ("DJANGO_HTTPS", "1"),
        ("DJANGO_HSTS_SECONDS", "an hour"),
    ],
)
def test_a_wrong_variable_is_named(name: str, value: str) -> None:
    result = manage("check", **{"DJANGO_HTTPS": "true", name: value})
    assert result.returncode != 0
    assert f"ImproperlyConfigured: The environment variable {name} is" in result.stderr


@pytest.mark.django_db
def test_a_page_uses_the_connection_to_memcached_that_the_page_before_opened(member: Client) -> None:
    member.get("/")
    before = connections_so_far()
    for _ in range(5):
        assert "grace" in member.get("/").text
    assert connections_so_far() == before + 1, "besides the one connection of this question"


@pytest.mark.django_db
def test_without_memcached_the_site_is_ready_and_nobody_is_logged_out(
    member: Client, make_profile: MakeProfile, settings: Settings
) -> None:
    person = make_profile()
    settings.CACHES = {"default": {**settings.CACHES["default"], "LOCATION": [f"127.0.0.1:{closed_port()}"]}}
    for address in ("/-/ready/", "/", person.get_absolute_url()):
        assert member.get(address).status_code == 200
    assert "grace" in member.get("/").text
    assert Client().get("/")["Cache-Control"] == "s-maxage=5, max-age=0"


@pytest.mark.django_db
def test_the_probes_say_ok(client: Client) -> None:
    for address in ("/-/ready/", "/-/live/"):
        response = client.get(address)
        assert (response.status_code, response["Content-Type"], response.text) == (200, "text/plain", "ok\n")
        assert "no-store" in response["Cache-Control"]
        assert client.post(address).status_code == 405


@pytest.mark.django_db(transaction=True)
def test_without_database_the_site_is_live_but_not_ready(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    connection.close()
    with monkeypatch.context() as patch:
        patch.setitem(connection.settings_dict, "HOST", "127.0.0.1")
        patch.setitem(connection.settings_dict, "PORT", str(closed_port()))
        response = client.get("/-/ready/")
        assert response.status_code == 503
        assert "no-store" in response["Cache-Control"]
        assert client.get("/-/live/").status_code == 200
    assert client.get("/-/ready/").status_code == 200


@pytest.mark.django_db
def test_static_files_carry_a_hash_of_their_content_in_their_names(client: Client) -> None:
    text = client.get("/").text
    assert "/static/people/people.css" not in text
    assert "/static/people/people." in text


HTTPS_PROBE = """
from django.test import Client
for address in ("/login/", "/-/live/"):
    for scheme in ("http", "https"):
        response = Client(headers={"host": "people.example.org", "x-forwarded-proto": scheme}).get(address)
        print(address, scheme, response.status_code, response.get("Strict-Transport-Security"),
              *(bool(cookie["secure"]) for cookie in response.cookies.values()))
"""


def test_with_https_pages_need_it_probes_do_not_and_cookies_are_secure() -> None:
    result = manage("shell", "-v0", "-c", HTTPS_PROBE, DJANGO_HTTPS="true", DJANGO_HSTS_SECONDS="60")
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines() == [
        "/login/ http 301 None",
        "/login/ https 200 max-age=60 True",
        "/-/live/ http 200 None",
        "/-/live/ https 200 max-age=60",
    ]


def test_without_https_nothing_redirects_and_cookies_work_over_http() -> None:
    result = manage("shell", "-v0", "-c", HTTPS_PROBE)
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines() == [
        "/login/ http 200 None False",
        "/login/ https 200 None False",
        "/-/live/ http 200 None",
        "/-/live/ https 200 None",
    ]
