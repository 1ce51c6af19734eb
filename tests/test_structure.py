"""The shape of the project: rules that no linter knows."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

PROJECT = Path(__file__).resolve().parents[1]
ROLES = sorted(path for path in (PROJECT / "roles").iterdir() if path.is_dir())
SERVING = {"web", "edge", "web_outdated"}
MOVES_SERVICES = {"restarted", "reloaded"}
# Nobody outside notices these: settings are loaded, rules replaced in one transaction.
UNNOTICED = {"hugproof-firewall", "systemd-sysctl"}
LONGEST_TASK_FILE = 90  # the rule says "about 80"


def tracked(*patterns: str) -> list[Path]:
    """The files that are, or are about to be, in git."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *patterns]
    names = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True).stdout.splitlines()
    return [path for name in names if (path := PROJECT / name).is_file()]


def read(path: Path) -> Any:  # noqa: ANN401 - whatever YAML holds
    return yaml.safe_load(path.read_text())


def plays() -> list[tuple[str, dict[str, Any]]]:
    """Every play of the project's playbooks that is not a mere import."""
    files = [PROJECT / "site.yml", *sorted((PROJECT / "playbooks").glob("*.yml"))]
    found = [(file.name, play) for file in files for play in read(file)]
    return [(name, play) for name, play in found if "ansible.builtin.import_playbook" not in play]


def tasks(entry: list[dict[str, Any]] | None) -> list[dict[str, Any]]:
    """All tasks of a list, those in blocks included."""
    found: list[dict[str, Any]] = []
    for task in entry or []:
        found.append(task)
        for part in ("block", "rescue", "always"):
            found += tasks(task.get(part))
    return found


def option_names(role: Path) -> dict[str, Any]:
    specs = read(role / "meta" / "argument_specs.yml")["argument_specs"]
    return {name: option for entry in specs.values() for name, option in (entry.get("options") or {}).items()}


@pytest.mark.parametrize(("file", "play"), plays(), ids=lambda value: value if isinstance(value, str) else None)
def test_every_play_stops_everywhere_at_the_first_error(file: str, play: dict[str, Any]) -> None:
    """All but those that look at a release in the end: they note who is not well, and all hosts go back."""
    assert play.get("any_errors_fatal", False) is not play["name"].startswith("Verify: "), f"{file}: {play['name']}"


def test_plays_that_move_serving_hosts_go_one_by_one() -> None:
    careless = [
        f"{file}: {play['name']}"
        for file, play in plays()
        if SERVING & set(re.findall(r"\w+", str(play["hosts"]))) and moves_services(play) and play.get("serial") != 1
    ]
    assert careless == []


def test_the_rule_above_sees_the_plays_it_is_about() -> None:
    moving = {play["name"] for _, play in plays() if moves_services(play)}
    assert {"Switch: the web hosts go over to it, one at a time", "The edge hosts serve, one at a time"} <= moving


def moves_services(play: dict[str, Any]) -> bool:
    """Whether any task file or handler that the play brings in restarts or reloads a service."""
    found = [task for file in included_files(play) for task in tasks(read(file))]
    commands = [str(task.get("ansible.builtin.command", {}).get("argv", "")) for task in found]
    if any("_uwsgi_django_tool + ['start'" in command for command in commands):
        return True
    services = [task.get("ansible.builtin.systemd_service", {}) for task in found]
    return any(item.get("state") in MOVES_SERVICES and item["name"] not in UNNOTICED for item in services)


def included_files(play: dict[str, Any]) -> set[Path]:
    """The task and handler files of the play's roles, as far as names tell."""
    found: set[Path] = set()
    for role in play.get("roles", []):
        name = role["role"] if isinstance(role, dict) else role
        found |= followed(PROJECT / "roles" / name / "tasks" / "main.yml")
        found |= set((PROJECT / "roles" / name / "handlers").glob("main.yml"))
    for task in tasks([*play.get("tasks", []), *play.get("pre_tasks", []), *play.get("post_tasks", [])]):
        include = task.get("ansible.builtin.include_role", task.get("ansible.builtin.import_role"))
        if include:
            found |= followed(
                PROJECT / "roles" / include["name"] / "tasks" / f"{include.get('tasks_from', 'main')}.yml"
            )
    return found


def followed(file: Path) -> set[Path]:
    """A task file and those it includes; none for a role that has variables alone."""
    if not file.exists():
        return set()
    found = {file}
    for task in tasks(read(file)):
        include = task.get("ansible.builtin.include_tasks", task.get("ansible.builtin.import_tasks"))
        if include:
            name = include if isinstance(include, str) else include["file"]
            if "{{" not in name:  # a user's own file
                found |= followed(file.parent / name)
    return found


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_a_roles_specs_are_its_defaults(role: Path) -> None:
    defaults = read(role / "defaults" / "main.yml") if (role / "defaults" / "main.yml").exists() else {}
    assert set(option_names(role)) == set(defaults or {})


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_every_option_has_a_type_and_a_description(role: Path) -> None:
    specs = read(role / "meta" / "argument_specs.yml")["argument_specs"]
    assert all(entry["short_description"] for entry in specs.values())
    silent = [name for name, option in option_names(role).items() if not (option.get("type") and described(option))]
    assert silent == []


def described(option: dict[str, Any]) -> bool:
    """Whether an option and all options within it say what they are."""
    return bool(option.get("description")) and all(described(inner) for inner in option.get("options", {}).values())


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_variables_carry_their_roles_name(role: Path) -> None:
    private = read(role / "vars" / "main.yml") if (role / "vars" / "main.yml").exists() else {}
    odd = [name for name in option_names(role) if not name.startswith(f"{role.name}_")]
    odd += [name for name in private if not name.startswith((f"{role.name}_", f"_{role.name}_"))]
    assert odd == []


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_every_variable_is_used(role: Path) -> None:
    sources = [path.read_text() for path in tracked("roles", "playbooks", "inventories") if path.suffix != ".md"]
    names = [*option_names(role)]
    if (role / "vars" / "main.yml").exists():
        names += read(role / "vars" / "main.yml")
    assert [name for name in names if not any(uses(text, name) for text in sources)] == []


def uses(text: str, name: str) -> bool:
    """Whether a text mentions a variable other than by giving it a value."""
    return re.search(rf"(?<![\w.]){re.escape(name)}(?![\w])(?!:(?:\s|$))", text, re.MULTILINE) is not None


def test_no_error_is_ignored() -> None:
    """`ignore_errors` hides what a `failed_when` would tell."""
    guilty = [
        str(path.relative_to(PROJECT))
        for path in tracked("roles", "playbooks", "site.yml", "molecule")
        if path.suffix in (".yml", ".yaml")
        and re.search(r"^\s*(ignore_errors|ignore_unreachable):", path.read_text(), re.M)
    ]
    assert guilty == []


def test_task_files_stay_short() -> None:
    """A task file that needs a chapter is two."""
    long = {
        str(path.relative_to(PROJECT)): lines
        for path in tracked("roles/*/tasks/*.yml")
        if (lines := len(path.read_text().splitlines())) > LONGEST_TASK_FILE
    }
    assert long == {}


def test_modules_are_named_in_full() -> None:
    short = [
        f"{path.relative_to(PROJECT)}: {key}"
        for path in tracked("roles/*/tasks/*.yml", "roles/*/handlers/*.yml")
        for task in tasks(read(path))
        for key in task
        if key in ("apt", "command", "copy", "file", "lineinfile", "service", "shell", "systemd", "template", "user")
    ]
    assert short == []


def test_tasks_that_see_secrets_are_silent() -> None:
    """A task that names a secret, or a file with one in it, logs nothing."""
    secret = re.compile(
        r"(secret_key|(database|role|patroni)_password|environment\.j2|_key_source|(pgbackrest\.conf|patroni\.yml|userlist\.txt)\.j2"
        r"|src: (files|repository)\.j2)"
    )
    talkative = [
        f"{path.relative_to(PROJECT)}: {task.get('name')}"
        for path in tracked("roles/*/tasks/*.yml")
        if "preflight" not in path.parts
        for task in tasks(read(path))
        if "block" not in task and secret.search(str(task)) and task.get("no_log") is not True
    ]
    assert talkative == []


def test_the_file_of_choices_stays_small() -> None:
    assert len((PROJECT / "inventories/lab/group_vars/all/main.yml").read_text().splitlines()) <= 40


def test_no_machine_is_named() -> None:
    """Where packages come from and where the checkout lies is the machine's business."""
    targets = subprocess.run(["apt-get", "indextargets", "--format", "$(SITE)"], capture_output=True, text=True)
    archives = {re.escape(site.split("/")[2]) for site in targets.stdout.split() if site.count("/") > 1}
    named = re.compile("|".join(["/root/", "/home/[a-z]", re.escape(f"{PROJECT}/"), *sorted(archives)]))
    found = [
        f"{path.relative_to(PROJECT)}:{number}: {line.strip()[:80]}"
        for path in tracked()
        if path != Path(__file__) and path.suffix not in (".md", ".svg", ".png")
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1)
        if named.search(line)
    ]
    assert found == []


def test_no_secret_is_in_git() -> None:
    key = re.compile(r"BEGIN ([A-Z]+ )?PRIVATE KEY")
    assert [
        path.name for path in tracked() if path != Path(__file__) and key.search(path.read_text(errors="replace"))
    ] == []


def test_the_tests_watch_for_tasks_that_there_are() -> None:
    """Many wait for a task's name in what a run prints."""
    text = "\n".join(path.read_text() for path in tracked("molecule/*.py"))
    watched = set(re.findall(r"TASK \[(\w+) : ([^\]]+)\]", text))
    assert len(watched) > 5
    known = {
        (path.parts[-3], task["name"])
        for path in tracked("roles/*/tasks/*.yml")
        for task in tasks(read(path))
        if "name" in task
    }
    assert watched <= known
