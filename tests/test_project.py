"""What is found in a Django project's files, and the exact versions made of what it requires."""

from __future__ import annotations

import functools
import json
import subprocess
import sys
from pathlib import Path

import pytest
from loading import load

PROJECT = Path(__file__).resolve().parents[1]
UV = str(Path(sys.executable).parent / "uv")
DRIVER, SERVER = "psycopg[binary]", "pyuwsgi==2.0.30.post1"

found = load("app/lookup_plugins/django_project.py")
locks = load("app/library/locked_requirements.py")


def write(directory: Path, **files: str) -> Path:
    """Write files by path, with __ for / in it and a dot before the last _."""
    for name, text in files.items():
        stem, _, suffix = name.replace("__", "/").rpartition("_")
        file = directory / f"{stem}.{suffix}"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return directory


def manage(settings: str) -> str:
    return f"import os\nif True:\n    os.environ.setdefault('DJANGO_SETTINGS_MODULE', '{settings}')\n"


def test_the_example_application() -> None:
    assert found.look(PROJECT / "app") == {
        "directory": "",
        "settings_module": "config.settings",
        "wsgi_module": "config.wsgi",
        "requirements": "requirements.txt",
        "static_url": "/static/",
        "session_cookie": "",
        "reads_environment": True,
    }


def test_settings_for_production_are_preferred_to_those_for_development(tmp_path: Path) -> None:
    write(
        tmp_path,
        manage_py=manage("mysite.settings.dev"),
        mysite__settings__dev_py="from .base import *",
        mysite__settings__base_py="WSGI_APPLICATION = 'mysite.web.application'\nSESSION_COOKIE_NAME = 'mine'",
        mysite__settings__production_py="from .base import *\nSTATIC_URL = 'files/'",
        mysite__settings__test_py="NAME = os.environ['PGDATABASE']",
    )
    seen = found.look(tmp_path)
    assert seen["settings_module"] == "mysite.settings.production"
    assert seen["wsgi_module"] == "mysite.web"
    assert seen["static_url"] == "/files/"
    assert seen["session_cookie"] == "mine"
    assert seen["reads_environment"] is False


def test_settings_whose_name_manage_py_makes_up(tmp_path: Path) -> None:
    write(
        tmp_path,
        manage_py="os.environ.setdefault('DJANGO_SETTINGS_MODULE', '%s.settings' % name())",
        mysite__settings_py="",
        mysite__wsgi_py="",
    )
    seen = found.look(tmp_path)
    assert (seen["settings_module"], seen["wsgi_module"]) == ("mysite.settings", "mysite.wsgi")


def test_a_project_below_the_source(tmp_path: Path) -> None:
    write(
        tmp_path,
        requirements_txt="Django",
        web__backend__manage_py=manage("mysite.settings"),
        web__backend__mysite__settings_py="STATIC_URL: str = 'files/'",
        web__backend__mysite__wsgi_py="",
        web__backend__mysite__other_py="SESSION_COOKIE_NAME = 'mine'",
    )
    seen = found.look(tmp_path)
    assert (seen["directory"], seen["settings_module"]) == ("web/backend", "mysite.settings")
    assert (seen["wsgi_module"], seen["requirements"]) == ("mysite.wsgi", "requirements.txt")
    assert (seen["static_url"], seen["session_cookie"]) == ("/files/", "")
    assert found.look(tmp_path, "web/backend", "mysite.other")["session_cookie"] == "mine"

    write(tmp_path, web__backend__requirements__prod_txt="Django", other__manage_py="")
    assert found.look(tmp_path)["directory"] == ""
    assert found.look(tmp_path, "web/backend")["requirements"] == "web/backend/requirements/prod.txt"


def test_files_that_are_no_python_and_a_directory_that_is_not_there(tmp_path: Path) -> None:
    write(tmp_path, manage_py="this is no Python", mysite__settings_py="nor (this", mysite__wsgi_py="\0")
    assert found.look(tmp_path)["settings_module"] == "mysite.settings"
    assert found.look(tmp_path / "nowhere")["settings_module"] == ""


@pytest.mark.parametrize(
    ("files", "requirements"),
    [
        ({"uv_lock": "", "poetry_lock": "", "requirements_txt": ""}, "uv.lock"),
        ({"poetry_lock": "", "pyproject_toml": "[project]\ndependencies = []"}, "poetry.lock"),
        ({"requirements__production_txt": "", "requirements__base_txt": ""}, "requirements/production.txt"),
        ({"pyproject_toml": "[project]\ndependencies = []"}, "pyproject.toml"),
        ({"pyproject_toml": "[tool.ruff]"}, ""),
    ],
)
def test_the_most_exact_requirements_are_taken(tmp_path: Path, files: dict[str, str], requirements: str) -> None:
    assert found.look(write(tmp_path, **files))["requirements"] == requirements


def locked(root: Path, requirements: str | list[str], *pythons: str) -> tuple[dict[str, str], list[str]]:
    """The versions by package, and what was added."""
    project = locks.Project(root, requirements, UV)
    cache = locks.Cache(root / "cache", "mysite", [requirements])
    make = functools.partial(locks.lock, project, SERVER, DRIVER, ["pymemcache"])
    head, _, text = cache.first(list(pythons or ["3.11"]), make).read_text().partition("\n")
    lines = [line.partition(";")[0].partition("==") for line in text.splitlines() if "==" in line]
    return {name: version.strip() for name, _, version in lines}, json.loads(head.removeprefix("# added: "))


def test_a_range_gets_exact_versions_a_driver_and_a_server(tmp_path: Path) -> None:
    versions, added = locked(tmp_path, ["Django~=5.2.0", "psycopg2-binary==2.9.12"])
    assert versions["django"].startswith("5.2.")
    assert versions["psycopg2-binary"] == "2.9.12"
    assert versions["pyuwsgi"] == "2.0.30.post1"
    assert added == ["pymemcache", SERVER]


def test_what_the_project_brings_is_not_added(tmp_path: Path) -> None:
    write(tmp_path, base_txt="psycopg==3.2.9\nuWSGI==2.0.30\n", requirements_txt="-r base.txt\nDjango==5.2.19\n")
    versions, added = locked(tmp_path, "requirements.txt")
    assert (versions["psycopg"], versions["uwsgi"], versions["django"]) == ("3.2.9", "2.0.30", "5.2.19")
    assert added == ["pymemcache"]


def test_a_pyproject_and_the_lock_that_uv_made_of_it(tmp_path: Path) -> None:
    write(tmp_path, pyproject_toml=PYPROJECT)
    subprocess.run([UV, "lock", "--quiet"], cwd=tmp_path, check=True)
    assert locked(tmp_path, "pyproject.toml") == locked(tmp_path, "uv.lock")
    assert locked(tmp_path, "uv.lock")[0]["asgiref"] == "3.8.1"


PYPROJECT = """
[project]
name = "mysite"
version = "1"
requires-python = ">=3.11"
dependencies = ["Django~=5.2.0", "asgiref<3.9"]
"""
POETRY_LOCK = """
[[package]]
name = "asgiref"
version = "3.8.1"
description = "ASGI specs, helper code, and adapters"
optional = false
python-versions = ">=3.8"
groups = ["main"]
files = []

[[package]]
name = "django"
version = "5.2.9"
description = "A high-level Python web framework"
optional = false
python-versions = ">=3.10"
groups = ["main"]
files = []

[[package]]
name = "pytest"
version = "8.0.0"
description = "Simple powerful testing with Python"
optional = false
python-versions = ">=3.8"
groups = ["dev"]
files = []

[metadata]
lock-version = "2.1"
python-versions = ">=3.11"
content-hash = "{digest}"
"""


def test_a_lock_that_poetry_made(tmp_path: Path) -> None:
    write(tmp_path, pyproject_toml=PYPROJECT + "[tool.poetry]\npackage-mode = false\n")
    told = "from poetry.factory import Factory; print(Factory().create_poetry().locker._get_content_hash())"
    command = [UV, "tool", "run", "--quiet", *locks.POETRY[:-1], "python", "-c", told]
    digest = subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True).stdout.strip()
    write(tmp_path, poetry_lock=POETRY_LOCK.format(digest=digest))
    versions, _ = locked(tmp_path, "poetry.lock")
    assert versions["asgiref"] == "3.8.1"
    assert "pytest" not in versions


def test_a_python_that_the_hosts_have_is_tried_when_the_oldest_does_not_do(tmp_path: Path) -> None:
    for _ in range(2):
        assert locked(tmp_path, ["Django~=6.0.0"], "3.11", "3.13")[0]["django"].startswith("6.0.")
    with pytest.raises(locks.UnlockableError, match=r"3\.12"):
        locked(tmp_path, ["Django~=6.0.0"], "3.11")


def test_a_python_that_the_project_leaves_out(tmp_path: Path) -> None:
    text = '[project]\nname = "mysite"\nversion = "1"\nrequires-python = ">=3.13.1"\ndependencies = ["Django~=5.2"]\n'
    project = locks.Project(write(tmp_path, pyproject_toml=text), "pyproject.toml", UV)
    with pytest.raises(locks.UnlockableError, match=r"requires-python >=3\.13\.1"):
        locks.lock(project, SERVER, DRIVER, [], "3.11")
    assert "django==5.2" in locks.lock(project, SERVER, DRIVER, [], "3.13")[0]


def test_that_the_index_was_not_reached_is_not_remembered(tmp_path: Path) -> None:
    cache = locks.Cache(tmp_path, "mysite", [])

    def fail(python: str) -> tuple[str, list[str]]:
        raise locks.UnlockableError(python)

    with pytest.raises(locks.UnlockableError):
        cache.first(["3.11", "3.13"], fail)
    assert cache.first(["3.11", "3.13"], lambda python: (python, [])).read_text() == "# added: []\n3.11\n"


@pytest.mark.parametrize(
    ("settings", "reads"),
    [
        ("SECRET_KEY = os.environ['DJANGO_SECRET_KEY']", False),
        ("# DATABASE_URL is not read here", False),
        ("NAME = os.environ['PGDATABASE']", True),
        ("DATABASES = {'default': env.db()}", True),
        ("DATABASES = {'default': dj_database_url.config()}", True),
    ],
)
def test_settings_that_take_the_database_from_the_environment(tmp_path: Path, settings: str, reads: bool) -> None:
    write(tmp_path, manage_py=manage("mysite.settings"), mysite__settings_py=settings)
    assert found.look(tmp_path)["reads_environment"] is reads


def test_static_files_of_another_host_are_not_ours(tmp_path: Path) -> None:
    settings = "STATIC_URL = 'https://files.example.org/'"
    write(tmp_path, manage_py=manage("mysite.settings"), mysite__settings_py=settings)
    assert found.look(tmp_path)["static_url"] == ""


def test_requirements_that_conflict(tmp_path: Path) -> None:
    with pytest.raises(locks.UnlockableError, match="django<5 and django>=5"):
        locked(tmp_path, ["Django<5", "Django>=5"])


@pytest.mark.parametrize("requirements", [[], ["requests"]])
def test_requirements_without_django(tmp_path: Path, requirements: list[str]) -> None:
    with pytest.raises(locks.UnlockableError, match="there is no Django among what they bring"):
        locked(tmp_path, requirements)


def test_where_packages_come_from_is_kept(tmp_path: Path) -> None:
    write(tmp_path, requirements_txt="--extra-index-url https://index.example.org/simple\n--no-binary psycopg2\n")
    project = locks.Project(tmp_path, "requirements.txt", UV)
    assert project.origins() == project.lines


@pytest.mark.parametrize("line", [".", "-e .", "./lib", "lib @ file:lib", "--find-links wheels", "wheels/lib-1.whl"])
def test_requirements_of_the_source_itself_are_as_new_as_the_source(tmp_path: Path, line: str) -> None:
    write(tmp_path, requirements_txt=f"Django==5.2.19\n{line}\n")
    assert locks.Project(tmp_path, "requirements.txt", UV).installs_from_source("Django==5.2.19")


def test_requirements_of_the_index_alone_are_as_old_as_their_text(tmp_path: Path) -> None:
    write(
        tmp_path,
        base_txt="Django==5.2.19 \\\n    --hash=sha256:00\n",
        requirements_txt="-r base.txt\n-r requirements.txt\n# see https://example.org/x\n",
    )
    project = locks.Project(tmp_path, "requirements.txt", UV)
    assert not project.installs_from_source("Django==5.2.19")
    assert project.installs_from_source("Django==5.2.19\n-e ./lib")
    assert "Django==5.2.19 \\" in project.lines
    assert json.dumps(project.lines) != json.dumps(locks.Project(tmp_path, "base.txt", UV).lines)
