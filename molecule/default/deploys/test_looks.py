"""What a release is looked at for before it serves: by the role's scripts, on a web host, in projects with faults."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from testinfra.host import Host

from support.cluster import APPLICATION, DOMAIN, PROJECT

FILES = PROJECT / "roles" / "uwsgi_django" / "files"
SETTINGS = "from config.settings import *\n"
SHOP = "from django.db import models\nclass Thing(models.Model):\n    pass\n"
CHECK = (DOMAIN, "sessionid", "/static/", "[]", "/-/ready/")
MIGRATION = """
import django.db.models.deletion
from django.db import migrations, models
class Migration(migrations.Migration):
    dependencies = [("people", "0001_initial")]
    operations = [{}]
"""
BREAKING = {
    "migrations.RemoveField('profile', 'bio')": "Remove field bio from profile",
    "migrations.RenameField('profile', 'email', 'mail')": "Rename field email on profile to mail",
    "migrations.AlterField('profile', 'name', models.TextField())": "Alter field name on profile",
    "migrations.AlterField('profile', 'birthday', models.DateField(default='2000-01-01'))":
        "Alter field birthday on profile",
    "migrations.AddField('profile', 'must', models.TextField(default=''))": "Add field must to profile",
    "migrations.AlterModelTable('company', 'firm')": "Rename table for company to firm",
    "migrations.RunSQL('SELECT 1')": "Raw SQL operation",
    "migrations.SeparateDatabaseAndState([migrations.RunSQL('SELECT 1')])": "Custom state/database change combination",
    "migrations.RenameModel('Company', 'Firm')": "Rename model Company to Firm",
}  # fmt: skip
HARMLESS = [
    "migrations.AddField('profile', 'may', models.TextField(null=True))",
    "migrations.AddField('profile', 'known', models.TextField(db_default='x'))",
    "migrations.AlterField('profile', 'address', models.CharField(max_length=255, blank=True, help_text='x'))",
    "migrations.AddIndex('profile', models.Index(fields=['name'], name='x'))",
    "migrations.CreateModel('Note', [('id', models.BigAutoField(primary_key=True)), ('text', models.TextField())])",
    "migrations.RemoveField('note', 'text')",
    "migrations.RunPython(migrations.RunPython.noop)",
]
PAGES = """
from config.urls import *
from django.http import HttpResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt
def varied(request):
    answer = HttpResponse("<a href='/form/'>a form</a>", headers={"Vary": "User-Agent, Cookie"})
    answer.set_cookie("seen", "1")
    return answer
def form(request):
    return HttpResponse("<input name=csrfmiddlewaretoken>", headers={"Cache-Control": "private"})
def broken(request):
    raise RuntimeError("not today")
urlpatterns = [path("varied/", varied), path("form/", form), path("broken/", broken)] + urlpatterns
"""


@dataclass(frozen=True)
class Said:
    """How a script ended."""

    rc: int
    stdout: str
    stderr: str

    @property
    def found(self) -> dict[str, list[str]]:
        assert self.rc == 0, self.stderr
        return dict(json.loads(self.stdout.splitlines()[-1]))


Look = Callable[..., Said]


@pytest.fixture
def look(web: list[Host]) -> Look:
    """Run a script as the steps of a release do, with settings on top of the release's, and modules beside its own."""
    host = web[0]
    release = host.check_output(f"readlink /srv/{APPLICATION}/current")
    directory = host.check_output("mktemp -d")
    host.check_output(f"chmod 0755 {directory}")

    def looked(script: str, *arguments: str, settings: str = "", modules: dict[str, str] | None = None) -> Said:
        files = {"script.py": (FILES / script).read_text(), "probe_settings.py": SETTINGS + settings}
        for name, text in (files | (modules or {})).items():
            path = f"{directory}/{name}"
            host.check_output("mkdir -p $(dirname %s) && printf %%s %s > %s", path, text, path)
        done = host.run(
            shlex.join([
                "systemd-run", "--quiet", "--pipe", "--wait", "--collect", f"--uid={APPLICATION}",
                f"--property=EnvironmentFile={release}/environment", f"--working-directory={release}/source",
                "env", f"PYTHONPATH={directory}", "DJANGO_SETTINGS_MODULE=probe_settings",
                f"{release}/venv/bin/python", f"{directory}/script.py", *arguments,
            ])
        )  # fmt: skip
        return Said(done.rc, done.stdout, done.stderr)

    return looked


@pytest.fixture
def planned(look: Look) -> Callable[[list[str]], dict[str, list[str]]]:
    """What is found of a migration with some operations."""
    first = (PROJECT / "app" / "people" / "migrations" / "0001_initial.py").read_text()

    def found(operations: list[str]) -> dict[str, list[str]]:
        more = MIGRATION.format(", ".join(operations))
        modules = {"moved/__init__.py": "", "moved/0001_initial.py": first, "moved/0002_more.py": more}
        return look("pending_migrations.py", settings="MIGRATION_MODULES = {'people': 'moved'}", modules=modules).found

    return found


def test_operations_that_the_running_release_may_not_bear(planned: Callable[[list[str]], dict[str, list[str]]]) -> None:
    found = planned(list(BREAKING))
    assert found["breaking"] == [f"people.0002_more: {said}" for said in BREAKING.values()]


def test_operations_that_it_bears(planned: Callable[[list[str]], dict[str, list[str]]]) -> None:
    assert planned(HARMLESS) == {"pending": ["people.0002_more"], "breaking": [], "missing": []}


@pytest.mark.parametrize("package", [{}, {"shop/migrations/__init__.py": ""}], ids=["no package", "an empty package"])
def test_models_that_nothing_makes_tables_for(look: Look, package: dict[str, str]) -> None:
    modules = {"shop/__init__.py": "", "shop/models.py": SHOP, **package}
    found = look("pending_migrations.py", settings="INSTALLED_APPS = [*INSTALLED_APPS, 'shop']", modules=modules).found
    assert found["missing"] == ["shop has models and no migrations, so nothing makes its tables shop_thing"]


@pytest.mark.parametrize(
    ("settings", "static_url", "cookie", "told"),
    [
        ("", "/static/", "other", "app_session_cookie is 'other', and SESSION_COOKIE_NAME 'sessionid'"),
        ("", "/files/", "sessionid", "app_static_url is '/files/', and STATIC_URL '/static/'"),
        ("STATIC_ROOT = '/srv/elsewhere'", "/static/", "sessionid", "STATIC_ROOT is '/srv/elsewhere', where"),
    ],
)
def test_settings_that_say_something_else_than_the_choices(
    look: Look, settings: str, static_url: str, cookie: str, told: str
) -> None:
    said = look("build.py", "config.wsgi", "/nowhere", static_url, cookie, settings=settings)
    assert said.rc == 1
    assert told in said.stderr


@pytest.mark.parametrize(
    ("script", "arguments"),
    [("build.py", ["config.wsgi", "/nowhere", "/static/", "sessionid"]), ("smoke.py", [DOMAIN, "https", "/-/ready/"])],
)
def test_an_application_that_ends_the_process_has_not_passed(look: Look, script: str, arguments: list[str]) -> None:
    said = look(script, *arguments, settings="raise SystemExit")
    assert said.rc == 1
    assert "ends the process when it is imported" in said.stderr


def test_a_health_path_that_there_is_not(look: Look) -> None:
    said = look("smoke.py", DOMAIN, "https", "/nowhere/")
    assert said.rc == 1
    assert "app_health_path is '/nowhere/', which the release answers with 404 Not Found" in said.stderr


def test_pages_that_break_or_cost(look: Look) -> None:
    settings = "ROOT_URLCONF = 'probe_urls'\nSTATIC_ROOT = '/srv/elsewhere'\nSESSION_COOKIE_NAME = 'other'"
    found = look(
        "check_app.py", *CHECK, "/varied/", "/broken/", settings=settings, modules={"probe_urls.py": PAGES}
    ).found
    for said in (
        "app_session_cookie is 'sessionid', and SESSION_COOKIE_NAME 'other'",
        "STATIC_ROOT is '/srv/elsewhere', where uWSGI does not look",
        "/broken/ is answered with 500: RuntimeError('not today').",
    ):
        assert any(sentence.startswith(said) for sentence in found["breaks"]), found["breaks"]
    for said in (
        "/varied/ sets the cookie seen for somebody who has none",
        "/varied/ has Vary: user-agent",
        "/form/ has a form with a CSRF token",
        "/form/ has Cache-Control: private",
    ):
        assert any(sentence.startswith(said) for sentence in found["costs"]), found["costs"]
    assert "/form/" in found["looked_at"]


def test_a_variable_that_settings_ask_for_in_vain(look: Look) -> None:
    found = look("check_app.py", *CHECK, settings="import os\nos.environ['STRIPE_KEY']").found
    assert found["breaks"] == ["The project does not start: KeyError: 'STRIPE_KEY'"]
