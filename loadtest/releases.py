"""Releases of the example application: good ones, and such as break in all the ways that releases do."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from pathlib import Path

from loadtest.target import PROJECT

# Runs where uWSGI has loaded the application, not where a release is tried out before.
ONLY_UNDER_UWSGI = """
import socket
try:
    import uwsgi
except ImportError:
    uwsgi = None
"""
NEVER_READY = (
    ONLY_UNDER_UWSGI
    + """
whole = application
def application(environ, start_response):
    if uwsgi and environ["PATH_INFO"] == "/-/ready/":
        start_response("503 Service Unavailable", [])
        return [b""]
    return whole(environ, start_response)
"""
)
NOT_THROUGH_THE_EDGE = """
whole = application
def application(environ, start_response):
    if environ["PATH_INFO"] == "/-/ready/" and "HTTP_X_FORWARDED_FOR" in environ:
        start_response("503 Service Unavailable", [])
        return [b""]
    return whole(environ, start_response)
"""
DIES_ON_THE_SECOND_HOST = (
    ONLY_UNDER_UWSGI
    + """
if uwsgi and socket.gethostname() == "web2":
    raise RuntimeError("this host is not like the first one")
"""
)
CRASHES = """
def application(environ, start_response):
    raise RuntimeError("the first request is one too many")
"""
MIGRATION = """
from django.db import migrations, models

class Migration(migrations.Migration):
    dependencies = [("people", "0001_initial")]
    operations = [{operation}]
"""
FAILS = "migrations.RunSQL('SELECT no_such_column')"
HARMLESS = (
    "migrations.AlterField('profile', 'company', models.ForeignKey("
    "'people.company', models.CASCADE, related_name='profiles', db_index=False)), "
    "migrations.AddField('profile', 'note', models.TextField(null=True))"
)
EXTRA = "migrations.AddField('profile', 'extra', models.TextField(null=True))"
TAKES_AWAY = "migrations.RemoveField('profile', 'company')"


@dataclass(frozen=True)
class Broken:
    """What is added to files of the application, by path; what a run says of it; and variables of the run."""

    appended: dict[str, str]
    told: str
    variables: dict[str, object] = field(default_factory=dict)


BROKEN = {
    "import error": Broken({"config/wsgi.py": "import no_such_module"}, "No module named 'no_such_module'"),
    "crash at the first request": Broken({"config/wsgi.py": CRASHES}, "the first request is one too many"),
    "unset secret": Broken(
        {"config/settings.py": "os.environ['STRIPE_KEY']"},
        "If the settings ask the environment for STRIPE_KEY, write it into app_environment",
    ),
    "wrong settings": Broken(
        {"config/settings.py": "INSTALLED_APPS += ['no_such_app']"}, "No module named 'no_such_app'"
    ),
    "failing migration": Broken(
        {"people/migrations/0002_fails.py": MIGRATION.format(operation=FAILS)},
        "does not exist",
        {"uwsgi_django_breaking_migrations": "allow"},
    ),
    "breaking migration": Broken(
        {"people/migrations/0002_takes_away.py": MIGRATION.format(operation=TAKES_AWAY)},
        "people.0002_takes_away: Remove field company from profile",
    ),
    "never ready": Broken(
        {"config/wsgi.py": NEVER_READY}, "/-/ready/ is answered with 503", {"uwsgi_django_ready_timeout": 15}
    ),
    "does not start on the second host": Broken(
        {"config/wsgi.py": DIES_ON_THE_SECOND_HOST}, "this host is not like the first one"
    ),
    "does not answer through the edge": Broken(
        {"config/wsgi.py": NOT_THROUGH_THE_EDGE}, 'at the step "The site answers on this edge host"'
    ),
}


def copy_application(directory: Path) -> Path:
    """Copy the example application's source to `directory`, to be changed there."""
    copy = directory / "app"
    shutil.copytree(PROJECT / "app", copy, ignore=shutil.ignore_patterns("__pycache__", ".*"))
    return copy


def release(directory: Path, name: str, appended: dict[str, str] | None = None) -> dict[str, object]:
    """The variables of a run for a release with a name in its RELEASE file, and with files of it changed."""
    source = copy_application(directory / name)
    (source / "RELEASE").write_text(name)
    for path, text in (appended or {}).items():
        with (source / path).open("a") as file:
            file.write(text)
    return {"app_source": str(source)}
