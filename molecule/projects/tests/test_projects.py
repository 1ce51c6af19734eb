"""Django projects straight from their starters, brought to the full cluster by variables alone."""

from __future__ import annotations

import re
import secrets
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml
from loadtest.plays import Run, run
from testinfra.host import Host

from support.cluster import APPLICATION, manage
from support.wait import eventually
from support.web import Browser

UV = str(Path(sys.executable).parent / "uv")
HASHED = re.compile(r"""/static/[^"']+\.[0-9a-f]{12}\.css""")


@dataclass(frozen=True)
class Starter:
    """How a project is made, and the choices it needs on this stack."""

    name: str
    package: str
    command: list[str]
    choices: dict[str, object] = field(default_factory=dict)
    home: int = 200
    login: str = "/admin/login/"
    below: str = ""  # where manage.py is in the source

    def make(self, directory: Path) -> Path:
        """Make a project named mysite below a directory."""
        source = directory / self.name
        place = source / self.below
        place.mkdir(parents=True)
        tool = [UV, "tool", "run", "--quiet", "--with", "setuptools", "--from", self.package]
        subprocess.run([*tool, *self.command, "mysite", str(place)], check=True, stdout=subprocess.DEVNULL)
        return source


STARTERS = {
    starter.name: starter
    for starter in (
        # Its only page is the one that DEBUG shows, and the admin site.
        Starter("plain", "Django~=5.2.0", ["django-admin", "startproject"],
                {"app_requirements": ["Django~=5.2.0"], "app_health_path": "/admin/login/",
                 "app_packages": ["gettext-base"], "app_settings": {"DEFAULT_FROM_EMAIL": "ida@plain.test"}}, home=404),
        Starter("wagtail", "wagtail", ["wagtail", "start"],
                {"app_health_path": "/", "app_media_url": "/media/", "app_never_cached": ["/admin/", "/django-admin/"]},
                login="/django-admin/login/", below="web/backend"),
        Starter("mezzanine", "mezzanine", ["mezzanine-project"],
                {"app_requirements": ["mezzanine"], "app_health_path": "/"}),
    )
}  # fmt: skip


@dataclass(frozen=True)
class Site:
    """A project on its host, and the runs that look at it and that bring it there."""

    starter: Starter
    host: Host
    inventory: Path
    visitor: Browser
    runs: Future[tuple[Run, Run]]

    def stranger(self) -> Browser:
        """Make a browser that has never been here."""
        return Browser(self.visitor.address, 443, self.visitor.authority, self.visitor.host)


def write_inventory(directory: Path, starter: Starter, address: str, source: Path) -> Path:
    """Write an inventory of one host in all groups, with the choices of a user."""
    inventory = directory / f"{starter.name}-inventory"
    inventory.mkdir()
    host = f"{starter.name}1"
    choices = {
        "ansible_user": "debian",
        "site_domain": f"{starter.name}.test",
        "site_memory_mb": 1024,
        "certificate_lab_directory": str(inventory / "certificates"),
        "app_name": APPLICATION,
        "app_source": str(source),
        "app_secret_key": secrets.token_urlsafe(48),
        "app_database_password": secrets.token_urlsafe(24),
    }
    groups = {group: {"hosts": {host: {}}} for group in ("db", "cache", "web", "edge")}
    everything = {"vars": choices | starter.choices, "hosts": {host: {"ansible_host": address}}, "children": groups}
    (inventory / "hosts.yml").write_text(yaml.safe_dump({"all": everything}))
    return inventory


@pytest.fixture(scope="session")
def sites(hosts: dict[str, Host], tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Site]]:
    """Every project on its way, side by side: check_app.yml, then site.yml."""
    directory = tmp_path_factory.mktemp("projects")

    def bring(inventory: Path) -> tuple[Run, Run]:
        return run("playbooks/check_app.yml", inventory), run("site.yml", inventory)

    found = {}
    with ThreadPoolExecutor(len(STARTERS)) as pool:
        for name, starter in STARTERS.items():
            host = hosts[f"{name}1"]
            address = host.backend.ansible_runner.get_variables(f"{name}1")["ansible_host"]
            inventory = write_inventory(directory, starter, address, starter.make(directory))
            visitor = Browser(address, 443, inventory / "certificates" / "authority.crt", f"{name}.test")
            found[name] = Site(starter, host, inventory, visitor, pool.submit(bring, inventory))
        yield found


@pytest.fixture(params=list(STARTERS))
def site(request: pytest.FixtureRequest, sites: dict[str, Site]) -> Site:
    """A project that has arrived."""
    found = sites[request.param]
    found.runs.result()[1].succeeded()
    return found


def test_it_is_looked_at_before_anything_serves(site: Site) -> None:
    checked = site.runs.result()[0].succeeded()
    assert "pages were looked at: /" in checked.words
    assert not site.host.file(f"/var/tmp/hugproof-check-{APPLICATION}").exists


def test_it_answers_and_its_home_page_is_a_hit(site: Site) -> None:
    assert site.visitor.get("/").status == site.starter.home
    eventually(lambda: site.visitor.get("/").is_hit)


def test_its_static_files_are_served_by_names_that_never_change(site: Site) -> None:
    style = HASHED.findall(site.stranger().get(site.starter.login).text)[0]
    answer = site.visitor.get(style)
    assert (answer.status, answer.headers["Content-Type"]) == (200, "text/css")


def test_a_member_logs_in(site: Site) -> None:
    """Over TLS, with the session where Django keeps it by default, in the site's database."""
    password = secrets.token_urlsafe(12)
    account = ["--noinput", "--username=ida", "--email=ida@example.org"]
    manage(site.host, "createsuperuser", *account, DJANGO_SUPERUSER_PASSWORD=password)
    visitor = site.stranger()
    assert visitor.get(site.starter.login).status == 200
    form = {"username": "ida", "password": password, "next": "/"}
    answer = visitor.post(site.starter.login, form, Referer=visitor.origin)
    assert answer.status == 302, answer.text
    assert "sessionid" in visitor.cookies
    asked = "from django.conf import settings; print(settings.SESSION_ENGINE, settings.DATABASES['default']['ENGINE'])"
    assert manage(site.host, "shell", "-c", asked).split()[-2:] == [
        "django.contrib.sessions.backends.db",
        "django.db.backends.postgresql",
    ]


def test_settings_and_packages_of_the_users_are_there(sites: dict[str, Site]) -> None:
    site = sites["plain"]
    site.runs.result()[1].succeeded()
    asked = "from django.conf import settings; print(settings.DEFAULT_FROM_EMAIL)"
    assert manage(site.host, "shell", "-c", asked).split()[-1] == "ida@plain.test"
    assert site.host.package("gettext-base").is_installed


def test_an_uploaded_file_is_served(sites: dict[str, Site]) -> None:
    site = sites["wagtail"]
    site.runs.result()[1].succeeded()
    save = (
        "from django.core.files.base import ContentFile; from django.core.files.storage import default_storage; "
        "store = default_storage; print(store.url(store.save('notes/of-ida.txt', ContentFile(b'uploaded'))))"
    )
    url = manage(site.host, "shell", "-c", save).split()[-1]
    assert url.startswith("/media/notes/")
    answer = site.visitor.get(url)
    assert (answer.status, answer.text) == (200, "uploaded")


def test_the_same_run_again_changes_nothing(site: Site) -> None:
    assert set(run("site.yml", site.inventory).succeeded().changed.values()) == {0}


def test_a_project_for_a_newer_python_than_the_host_has(sites: dict[str, Site]) -> None:
    """Debian 12 has Python 3.11, and Django 6 wants 3.12."""
    site = sites["mezzanine"]
    site.runs.result()[1].succeeded()
    refused = run("playbooks/deploy.yml", site.inventory, app_requirements=["Django~=6.0.0"]).failed()
    assert "app_requirements is ['Django~=6.0.0']" in refused.words
    assert "which can't be installed on Python 3.11" in refused.words
    assert site.visitor.get("/").status == 200
