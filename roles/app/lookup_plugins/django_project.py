"""What a Django project says of itself in its own files, read and never run."""

from __future__ import annotations

DOCUMENTATION = r"""
name: django_project
short_description: What a Django project says of itself
description:
  - Reads manage.py, the settings and the files of requirements of projects. Nothing of a project is run.
options:
  _terms:
    description: Directories of source code.
    type: list
    elements: str
  directory:
    description: Where manage.py is below each; looked for by default, at the top and two levels below.
    type: str
  settings_module:
    description: The settings to read; those that the project names by default.
    type: str
"""

RETURN = r"""
_raw:
  description:
    - For each directory, a dictionary of C(directory), C(settings_module), C(wsgi_module), C(requirements),
      C(static_url) and C(session_cookie), each empty where it was not found, and C(reads_environment), whether the
      settings take the database from the environment. C(directory) is empty as well where manage.py is at the top, or
      in several places.
  type: list
"""

import ast
import functools
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


def project_directory(root: Path) -> str:
    """Return where the only manage.py below the top is, relative to it; empty for the top, none and several."""
    places = [file.parent.relative_to(root) for depth in ("", "*/", "*/*/") for file in root.glob(f"{depth}manage.py")]
    places = [place for place in places if not any(part.startswith(".") for part in place.parts)]
    return str(places[0]) if len(places) == 1 and places[0].parts else ""


def parsed(file: Path) -> list[ast.AST]:
    """Return the nodes of a file of Python, the module first; one that can't be read has none."""
    try:
        status = file.stat()
    except OSError:
        return [ast.Module([], [])]
    return _parsed(file, status.st_mtime_ns, status.st_size)


@functools.lru_cache
def _parsed(file: Path, _changed: int, _size: int) -> list[ast.AST]:
    try:
        return list(ast.walk(ast.parse(file.read_bytes())))
    except (OSError, SyntaxError, ValueError):
        return [ast.Module([], [])]


def named_settings(file: Path) -> str:
    """Return the settings module that a manage.py falls back to, by os.environ.setdefault; empty when it has none."""
    for node in parsed(file):
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
        for node in parsed(file)[0].body:
            if isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(node.value, ast.Constant):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                names = [target.id for target in targets if isinstance(target, ast.Name)]
                if name in names and isinstance(node.value.value, str):
                    return node.value.value
    return ""


def reads_environment(file: Path) -> bool:
    """Whether a file of settings looks for the database in the environment."""
    nodes = parsed(file)
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
            for node in parsed(file):
                if isinstance(node, ast.ImportFrom):
                    base = package[: len(package) + 1 - node.level] if node.level else []
                    waiting.append(".".join([*base, *filter(None, [node.module])]))
    return files


def look(top: Path, directory: str | None = None, settings_module: str | None = None) -> dict[str, Any]:
    """Return what a project's files tell; see RETURN."""
    place = project_directory(top) if directory is None else directory
    root = top / place
    settings = settings_module or for_a_server(root, named_settings(root / "manage.py") or usual_settings(root))
    files = settings_files(root, settings) if settings else []
    wsgi = assigned(files, "WSGI_APPLICATION").rpartition(".")[0]
    if not wsgi and settings:
        beside = f"{settings.partition('.')[0]}.wsgi"
        wsgi = beside if module_file(root, beside) else ""
    static = assigned(files, "STATIC_URL")
    if "//" in static:  # on another host, which is asked for them
        static = ""
    return {
        "directory": place,
        "settings_module": settings,
        "wsgi_module": wsgi,
        "requirements": next(_requirements(top, root), ""),
        "static_url": static if not static or static.startswith("/") else f"/{static}",
        "session_cookie": assigned(files, "SESSION_COOKIE_NAME"),
        "reads_environment": any(map(reads_environment, files)),
    }


def _requirements(top: Path, root: Path) -> Iterator[str]:
    for file in (place / name for place in (root, top) for name in REQUIREMENTS):
        # A pyproject.toml of tools' settings alone has no dependencies in it.
        if file.is_file() and (file.name != "pyproject.toml" or "dependencies" in file.read_text(errors="replace")):
            yield str(file.relative_to(top))


class LookupModule(LookupBase):
    """The lookup, as Ansible asks for it."""

    def run(self, terms: list[str], variables: Any = None, **kwargs: Any) -> list[dict[str, Any]]:  # noqa: ANN401
        """Return what each directory's project says of itself."""
        return [look(Path(term), kwargs.get("directory"), kwargs.get("settings_module")) for term in terms]
