"""What a Django project says of itself in its own files, read and never run."""

from __future__ import annotations

DOCUMENTATION = r"""
name: django_project
short_description: What a Django project says of itself
description:
  - Reads manage.py, the settings and the files of requirements of projects. Nothing of a project is run.
options:
  _terms:
    description: Directories with a manage.py.
    type: list
    elements: str
"""

RETURN = r"""
_raw:
  description:
    - For each directory, a dictionary of C(settings_module), C(wsgi_module), C(requirements), C(static_url) and
      C(session_cookie), each empty where it was not found, and C(reads_environment), whether the settings take the
      database from the environment.
  type: list
"""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ansible.plugins.lookup import LookupBase

# Where requirements are, the most exact first.
REQUIREMENTS = (
    "uv.lock",
    "poetry.lock",
    "requirements.txt",
    "requirements/production.txt",
    "requirements/prod.txt",
    "requirements/base.txt",
    "pyproject.toml",
)
# Settings for a developer's machine, and what those for a server are called beside them.
DEVELOPMENT = {"dev", "develop", "development", "local"}
PRODUCTION = ("production", "prod")
# Settings with one of these words in them, or one of these calls, take their database from the environment.
ENVIRONMENT = {"DATABASE_URL", "PGDATABASE", "PGHOST"}
CALLS = {"env.db", "env.db_url", "dj_database_url.config"}


def parsed(file: Path) -> ast.Module:
    """Parse a file of Python; one that can't be read or parsed has nothing in it."""
    try:
        return ast.parse(file.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return ast.Module([], [])


def named_settings(file: Path) -> str:
    """Return the settings module that a manage.py falls back to, by os.environ.setdefault; empty when it has none."""
    for node in ast.walk(parsed(file)):
        if isinstance(node, ast.Call):
            words = [item.value for item in node.args if isinstance(item, ast.Constant)]
            if words[:1] == ["DJANGO_SETTINGS_MODULE"] and len(words) > 1 and isinstance(words[1], str):
                return words[1]
    return ""


def usual_settings(root: Path) -> str:
    """Return the settings module that lies beside the only wsgi.py of a project; empty when there is no such place."""
    places = [file.parent for file in root.glob("*/wsgi.py")]
    settings = [f"{place.name}.settings" for place in places if module_file(root, f"{place.name}.settings")]
    return settings[0] if len(settings) == 1 else ""


def module_file(root: Path, module: str) -> Path | None:
    """Return the file of a module below a directory; None when there is none."""
    path = root.joinpath(*module.split("."))
    return next((file for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file()), None)


def for_a_server(root: Path, module: str) -> str:
    """Return the module beside one of settings for development that is for a server, or the module itself."""
    package, _, name = module.rpartition(".")
    if package and name in DEVELOPMENT:
        beside = [f"{package}.{other}" for other in PRODUCTION if module_file(root, f"{package}.{other}")]
        return [*beside, module][0]
    return module


def assigned(files: list[Path], name: str) -> str:
    """Return the text that a setting is assigned in the first of the files that does; empty when none does."""
    for file in files:
        for node in parsed(file).body:
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant):
                targets = [target.id for target in node.targets if isinstance(target, ast.Name)]
                if name in targets and isinstance(node.value.value, str):
                    return node.value.value
    return ""


def reads_environment(file: Path) -> bool:
    """Whether a file of settings looks for the database in the environment."""
    nodes = list(ast.walk(parsed(file)))
    words = {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    calls = {ast.unparse(node.func).lower() for node in nodes if isinstance(node, ast.Call)}
    return bool(words & ENVIRONMENT or calls & CALLS)


def settings_files(root: Path, module: str) -> list[Path]:
    """Return the file of a settings module and those of the project that it imports from, itself first."""
    files: list[Path] = []
    waiting = [module]
    while waiting:
        name = waiting.pop(0)
        file = module_file(root, name)
        if file and file not in files:
            files.append(file)
            package = name.split(".") if file.name == "__init__.py" else name.split(".")[:-1]
            for node in ast.walk(parsed(file)):
                if isinstance(node, ast.ImportFrom):
                    base = package[: len(package) + 1 - node.level] if node.level else []
                    waiting.append(".".join([*base, *filter(None, [node.module])]))
    return files


def look(root: Path) -> dict[str, Any]:
    """Return what a project's files tell; see RETURN."""
    settings = for_a_server(root, named_settings(root / "manage.py") or usual_settings(root))
    files = settings_files(root, settings) if settings else []
    wsgi = assigned(files, "WSGI_APPLICATION").rpartition(".")[0]
    if not wsgi and settings:
        beside = f"{settings.partition('.')[0]}.wsgi"
        wsgi = beside if module_file(root, beside) else ""
    static = assigned(files, "STATIC_URL")
    if "//" in static:  # on another host, which is asked for them
        static = ""
    return {
        "settings_module": settings,
        "wsgi_module": wsgi,
        "requirements": next((name for name in _requirements(root)), ""),
        "static_url": static if not static or static.startswith("/") else f"/{static}",
        "session_cookie": assigned(files, "SESSION_COOKIE_NAME"),
        "reads_environment": any(map(reads_environment, files)),
    }


def _requirements(root: Path) -> Iterator[str]:
    for name in REQUIREMENTS:
        # A pyproject.toml of tools' settings alone has no dependencies in it.
        if (root / name).is_file() and (
            name != "pyproject.toml" or "dependencies" in (root / name).read_text(errors="replace")
        ):
            yield name


class LookupModule(LookupBase):
    """The lookup, as Ansible asks for it."""

    def run(self, terms: list[str], variables: Any = None, **kwargs: Any) -> list[dict[str, Any]]:  # noqa: ANN401
        """Return what each directory's project says of itself."""
        return [look(Path(term)) for term in terms]
