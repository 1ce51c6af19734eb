#!/usr/bin/python
"""Ansible module: turn what a Django project requires into one list of exact versions, the same for all hosts."""

from __future__ import annotations

DOCUMENTATION = r"""
module: locked_requirements
short_description: Lock what a Django project requires to exact versions
description:
  - Writes C(destination/NAME-DIGEST.txt), a file of requirements for pip with an exact version of every package. Locks
    of uv and Poetry give their versions; anything else is resolved by uv.
  - The same input is resolved once; later runs find the file.
options:
  path:
    description: The project's directory.
    type: path
    required: true
  requirements:
    description: A file of requirements relative to C(path), or a list of requirements.
    type: raw
    required: true
  server:
    description: The requirement added when the project's own bring no uWSGI.
    type: str
    required: true
  driver:
    description: The requirement added when the project's own bring no driver for PostgreSQL.
    type: str
    required: true
  more:
    description: Requirements added unless the project's own bring the package.
    type: list
    elements: str
  pythons:
    description: Versions of Python, such as C(3.11). The first for which there is a solution is taken.
    type: list
    elements: str
    required: true
  uv:
    description: The uv command.
    type: path
    required: true
  destination:
    description: The directory that gets the file; made if it is missing.
    type: path
    required: true
  name:
    description: First part of the file's name.
    type: str
    required: true
"""

RETURN = r"""
path:
  description: Path of the file.
  type: str
  returned: success
digest:
  description: SHA-256 of what the file installs, in hexadecimal.
  type: str
  returned: success
from_source:
  description: Whether a line installs from the project's own directory, whose content matters then as well.
  type: bool
  returned: success
packages:
  description: The names of all packages that the file installs.
  type: list
  elements: str
  returned: success
added:
  description: The requirements that the project did not bring.
  type: list
  elements: str
  returned: success
"""

import hashlib
import json
import re
import subprocess
import tempfile
import time
import tomllib
from collections.abc import Callable
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from packaging.specifiers import InvalidSpecifier, SpecifierSet

FORMAT = "3"  # of the file; another one is made anew
NONE = "# none "  # before the reason why there is no solution for a Python that another one was taken instead of
POETRY = ["--from", "poetry==2.2.1", "--with", "poetry-plugin-export==1.9.0", "poetry"]
SERVERS = {"uwsgi", "pyuwsgi"}
DRIVERS = {"psycopg", "psycopg2", "psycopg2-binary"}

# How long a file that no run asks for is kept.
KEPT_SECONDS = 30 * 24 * 3600

# A line of a requirements file that names another one; one that installs from a path; and one that says where from.
INCLUDED = re.compile(r"(?:-r|-c|--requirement|--constraint)[ =]?\s*(\S+)")
FROM_SOURCE = re.compile(
    r"[./]|-e|--editable|file:|\S+\s*@\s*(?:file:|[./])|(?!\S+://)[^\s;@]+/[^\s;]*$|(?:--find-links|-f)[ =](?!\S+://)"
)
ORIGIN = re.compile(r"(--index-url|-i|--extra-index-url|--find-links|-f|--trusted-host|--no-binary|--only-binary)\b")
NAME = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)")


class UnlockableError(Exception):
    """Requirements that can't be met, with the reason."""


def read_all(root: Path, name: str) -> list[str]:
    """Return the lines of a requirements file and of those that it includes; one that is not there has none."""
    lines, waiting, seen = [], [root / name], set()
    while waiting:
        file = waiting.pop(0)
        if file in seen or not file.is_file():
            continue
        seen.add(file)
        for line in map(str.strip, file.read_text(errors="replace").splitlines()):
            lines.append(line)
            if included := INCLUDED.match(line):
                waiting.append(file.parent / included[1])
    return lines


def installs_from_source(lines: list[str]) -> bool:
    """Whether a line names a path rather than a package of an index."""
    return any(FROM_SOURCE.match(line) for line in lines if not INCLUDED.match(line))


def names(text: str) -> set[str]:
    """Return the normalized names of the packages that locked requirements install (PEP 503)."""
    found = [NAME.match(line) for line in text.splitlines()]
    return {re.sub(r"[-_.]+", "-", match[1]).lower() for match in found if match}


class Project:
    """What a project requires, and the means to lock it."""

    def __init__(self, root: Path, requirements: str | list[str], uv: str) -> None:
        self.root, self.requirements, self.uv = root, requirements, uv
        if isinstance(requirements, str) and Path(requirements).suffix in {".txt", ".in"}:
            self.lines = read_all(root, requirements)
        elif isinstance(requirements, str):
            self.lines = (root / requirements).read_text(errors="replace").splitlines()
        else:
            self.lines = [str(line) for line in requirements]

    def locked(self, more: list[str], python: str) -> str:
        """Return exact versions of what the project and `more` require. Raises UnlockableError."""
        given = self._given()
        with tempfile.TemporaryDirectory() as directory:
            extra = Path(directory) / "more.txt"
            extra.write_text("\n".join([*(given if isinstance(given, list) else []), *more]))
            files = [str(extra)] if isinstance(given, list) else [given, str(extra)]
            hashes = ["--generate-hashes"] if any("--hash" in line for line in self.lines) else []
            return self._run(
                ["pip", "compile", "--quiet", "--universal", f"--python-version={python}", "--fork-strategy=fewest",
                 "--no-header", "--no-annotate", *hashes, *files]
            )  # fmt: skip

    def refuse(self, python: str) -> None:
        """Raise UnlockableError when the project's own metadata leaves out a version of Python."""
        if self._is_for_pip():
            return
        try:
            metadata = tomllib.loads((self.root / self.requirements).with_name("pyproject.toml").read_text())
            wanted = metadata.get("project", {}).get("requires-python", "")
            if not any(SpecifierSet(wanted).filter([f"{python}.0", f"{python}.99"])):
                raise UnlockableError(f"pyproject.toml says requires-python {wanted}")
        except (OSError, ValueError, InvalidSpecifier):  # uv tells
            return

    def origins(self) -> list[str]:
        """Return the options of the project's requirements files that say where packages come from."""
        return [line for line in self.lines if ORIGIN.match(line)] if self._is_for_pip() else []

    def installs_from_source(self, text: str) -> bool:
        """Whether what locked requirements install depends on the project's own files as well."""
        given = self.lines if self._is_for_pip() else []
        return installs_from_source([*given, *text.splitlines()])

    def _is_for_pip(self) -> bool:
        return isinstance(self.requirements, list) or Path(self.requirements).suffix in {".txt", ".in"}

    def _given(self) -> str | list[str]:
        """Return a file that uv reads as it is, or lines of requirements."""
        if isinstance(self.requirements, list):
            return self.lines
        kind = Path(self.requirements).name
        where = str((self.root / self.requirements).parent)
        if kind == "uv.lock":
            export = ["export", "--quiet", "--frozen", "--no-dev", "--no-emit-project", "--no-hashes", "--no-header"]
            return self._run([*export, "--directory", where]).splitlines()
        if kind == "poetry.lock":
            export = ["export", "--without-hashes", "--format=requirements.txt", f"--directory={where}"]
            return self._run(["tool", "run", "--quiet", *POETRY, *export]).splitlines()
        return self.requirements

    def _run(self, arguments: list[str]) -> str:
        done = subprocess.run([self.uv, *arguments], cwd=self.root, capture_output=True, text=True, check=False)
        if done.returncode:
            raise UnlockableError(done.stderr.strip() or done.stdout.strip())
        return done.stdout


def lock(project: Project, server: str, driver: str, more: list[str], python: str) -> tuple[str, list[str]]:
    """Return the locked requirements, and what was added for the project. Raises UnlockableError."""
    project.refuse(python)
    brought = names(project.locked([], python))
    if "django" not in brought:
        raise UnlockableError("there is no Django among what they bring")
    added = [requirement for requirement in more if not names(requirement) & brought]
    added += [server] if not brought & SERVERS else []
    added += [driver] if not brought & DRIVERS else []
    return "\n".join([*project.origins(), project.locked(added, python)]), added


class Cache:
    """Files of locked requirements, one for what is asked and a Python."""

    def __init__(self, directory: Path, name: str, asked: list[object]) -> None:
        self.directory, self.name, self.asked = directory, name, asked

    def file(self, python: str) -> Path:
        """Return the file for a version of Python."""
        digest = hashlib.sha256(json.dumps([FORMAT, *self.asked, python]).encode()).hexdigest()
        return self.directory / f"{self.name}-{digest[:16]}.txt"

    def write(self, python: str, text: str) -> None:
        """Write a file, all at once."""
        self.directory.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=self.directory, delete=False) as temporary:
            temporary.write(text)
        Path(temporary.name).replace(self.file(python))

    def first(self, pythons: list[str], make: Callable[[str], tuple[str, list[str]]]) -> Path:
        """Return the file for the first Python with a solution, made where it is missing. Raises UnlockableError.

        That there is none for a Python is remembered once there is one for another: then it was no failure of the way.
        """
        reasons: dict[str, str] = {}
        for python in pythons:
            file = self.file(python)
            if not file.exists():
                try:
                    text, added = make(python)
                except UnlockableError as error:
                    reasons[python] = f"on Python {python}: {error}"
                    continue
                self.write(python, f"# added: {json.dumps(added)}\n{text}\n")
                for without, reason in reasons.items():
                    self.write(without, NONE + reason)
            file.touch()
            text = file.read_text()
            if not text.startswith(NONE):
                return file
            reasons[python] = text.removeprefix(NONE)
        raise UnlockableError("\n".join(reasons.values()))

    def forget(self) -> None:
        """Remove what has not been asked for in a long time."""
        for file in self.directory.glob(f"{self.name}-*.txt"):
            if time.time() - file.stat().st_mtime > KEPT_SECONDS:
                file.unlink(missing_ok=True)


def main() -> None:
    """Run as an Ansible module."""
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "requirements": {"type": "raw", "required": True},
            "server": {"type": "str", "required": True},
            "driver": {"type": "str", "required": True},
            "more": {"type": "list", "elements": "str", "default": []},
            "pythons": {"type": "list", "elements": "str", "required": True},
            "uv": {"type": "path", "required": True},
            "destination": {"type": "path", "required": True},
            "name": {"type": "str", "required": True},
        },
        supports_check_mode=True,
    )
    given = module.params
    if not Path(given["uv"]).is_file():
        module.fail_json(msg=f"There is no {given['uv']}: `make venv` installs it, beside Ansible.")
    project = Project(Path(given["path"]), given["requirements"], given["uv"])
    asked = [given["requirements"], project.lines, *(given[key] for key in ("server", "driver", "more"))]
    cache = Cache(Path(given["destination"]), given["name"], asked)
    # Also in check mode: the cache is the control machine's own.
    try:
        file = cache.first(
            given["pythons"], lambda python: lock(project, given["server"], given["driver"], given["more"], python)
        )
    except (OSError, UnlockableError) as error:
        module.fail_json(
            msg=f"app_requirements is {given['requirements']!r} ({given['path']}), which can't be installed {error}"
        )
    cache.forget()
    head, _, text = file.read_text().partition("\n")
    module.exit_json(
        changed=False,
        path=str(file),
        digest=hashlib.sha256(text.encode()).hexdigest(),
        from_source=project.installs_from_source(text),
        packages=sorted(names(text)),
        added=json.loads(head.removeprefix("# added: ")),
    )


if __name__ == "__main__":
    main()
