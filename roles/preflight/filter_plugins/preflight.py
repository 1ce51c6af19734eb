"""What is wrong with the variables that a user has set, judged by the roles' own specifications."""

from __future__ import annotations

import difflib
import functools
import ipaddress
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleError, AnsibleFilterError
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.module_utils.common.yaml import yaml_load
from ansible.parsing.dataloader import DataLoader

# All other numbers are sizes, counts and limits, of which none makes no sense.
MAY_BE_ZERO = {
    "nginx_lb_max_fails",
    "restic_keep_monthly",
    "restic_keep_weekly",
    "site_apt_lock_timeout",
    "uwsgi_django_harakiri_graceful",
    "uwsgi_django_releases_kept",
    "uwsgi_django_watchdog",
}
# How alike two names are that are taken for one with a typing error in it; 1 is the same.
ALIKE = 0.85
LARGEST_PAGE = 1024 * 1024
LARGEST_ROUTER_ID = 255
FEWEST_SHARING = 2
# What `celery --app` takes, and a name that may be a part of a unit's.
APP = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*(:[A-Za-z_]\w*)?", re.ASCII)
UNIT = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")
PERIODIC = "{command: COMMAND, on_calendar: TIME}"
# The steps of a release that tasks of the user's can come before or after.
STEPS = (
    "before_build", "before_migrate", "after_migrate", "before_smoke", "after_smoke", "before_switch", "after_switch",
    "before_verify", "after_verify", "after_release",
)  # fmt: skip
ADDRESS = re.compile(r"([0-9]{1,3}\.){3}[0-9]{1,3}|[0-9a-fA-F:]+:[0-9a-fA-F:.]*")
KEY = re.compile(r"(ssh|ecdsa|sk)-\S+ [A-Za-z0-9+/]+=*( .*)?")


def preflight_known(names: Iterable[str], roles: str) -> list[str]:
    """Return which of some variables' names are the roles' own; `roles` is their directory."""
    return sorted(set(names) & set(_options(Path(roles))))


def preflight_faults(names: Iterable[str], values: Mapping[str, Any], roles: str) -> list[str]:
    """Return a sentence for each of a host's variables that is misspelt or can't be meant, and what to write.

    `names` are all that the inventory and the command line set, `values` those of the roles' own; `roles` is the
    directory of the roles, whose meta/argument_specs.yml say what there is. Raises AnsibleFilterError when there are
    none.
    """
    options = _options(Path(roles))
    if not options:
        raise AnsibleFilterError(f"No role in {roles} has a meta/argument_specs.yml.")
    prefixes = tuple(f"{name}_" for name in {path.parents[1].name for path in _specs(Path(roles))})
    faults = []
    values = {name: _plain(value) for name, value in values.items()}
    for name in sorted(map(str, names)):
        if name not in options:
            if name.startswith(prefixes) and (meant := difflib.get_close_matches(name, options, 1, ALIKE)):
                faults.append(f"There is no variable {name}: write {meant[0]}, or give it another name.")
        elif wanted := _wanted(name, options[name], values[name]):
            text = "" if values[name] is None else str(values[name]).strip()
            value = "of another kind" if options[name].get("no_log") else f"'{text}'"
            faults.append(f"{name} is {value}: write {wanted}.")
    return faults + _people(values.get("base_administrators") or [])


def _plain(value: object) -> object:
    """Return a value without Ansible's lazy containers, of which a copy takes all that templates need with it."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list) else value


def _wanted(name: str, option: Mapping[str, Any], value: object) -> str:
    """Return what to write for a value that its option can't have; empty when it can. Dictionaries may be empty."""
    kind = option.get("type")
    if kind == "int":
        least = 0 if name in MAY_BE_ZERO else 1
        if not re.fullmatch(r"[0-9]+", str(value).strip()) or int(str(value)) < least:
            return f"a whole number, {least} or more"
    if kind == "list" and (not isinstance(value, Sequence) or isinstance(value, str)):
        return "a list"
    if kind == "dict" and not isinstance(value, Mapping | None):
        return "a dictionary, NAME: VALUE, one on each line"
    if value is None:
        return "" if kind == "dict" else "something, or leave the line out"
    if ArgumentSpecValidator({name: {**option, "required": False}}).validate({name: value}).error_messages:
        return f"one of {', '.join(option['choices'])}" if "choices" in option else f"a value of the kind {kind}"
    return ""


def preflight_wrong(groups: Iterable[Iterable[Mapping[str, Any]]]) -> str:
    """Return what is said of the first group of checks that has a wrong one; empty when all are right.

    A check is {right: BOOLEAN, message: TEXT}. Neither is evaluated before the groups before it are right, so that a
    group may rely on those.
    """
    for group in groups:
        if wrong := [check["message"] for check in group if not check["right"]]:
            return " ".join(wrong)
    return ""


def preflight_addresses(addresses: Mapping[str, str]) -> list[dict[str, str]]:
    """Return the hosts, {key: HOST, value: ADDRESS}, with an address that is none or that another one has."""
    every = list(addresses.values())
    return [
        {"key": host, "value": address}
        for host, address in addresses.items()
        if not ADDRESS.fullmatch(str(address)) or every.count(address) > 1
    ]


def preflight_shared(values: Mapping[str, Sequence[Any]], hosts: Mapping[str, str], edge: Sequence[str]) -> list[str]:
    """Return a sentence for each reason why the edge hosts can't share addresses.

    `values` has keepalived_addresses and keepalived_router_id, each as every host has it; `hosts` are the addresses of
    all hosts by name, `edge` the names of the edge hosts.
    """
    faults = [
        f"{name} differs between hosts: write it once for all of them, in group_vars/all."
        for name, found in values.items()
        if any(value != found[0] for value in found)
    ]
    shared = [str(address) for address in values["keepalived_addresses"][0]]
    if not shared or faults:
        return faults
    if not 1 <= int(values["keepalived_router_id"][0]) <= LARGEST_ROUTER_ID:
        faults.append(
            f"keepalived_router_id is {values['keepalived_router_id'][0]}: write a whole number, {LARGEST_ROUTER_ID} "
            "at most."
        )
    versions = {name: _version(hosts[name]) for name in edge}
    for address in shared:
        owners = [name for name, own in hosts.items() if own == address]
        if not _version(address):
            faults.append(f"keepalived_addresses has '{address}': write an IP address, without a prefix.")
        elif owners:
            faults.append(
                f"keepalived_addresses has {address}, which is {owners[0]}'s own: write one that no host has."
            )
        elif any(version != _version(address) for version in versions.values()):
            faults.append(
                f"keepalived_addresses has {address}, and the edge hosts' own are {', '.join(map(hosts.get, edge))}: "
                "write addresses of the same family, IPv4 or IPv6, as theirs."
            )
    if len(edge) < FEWEST_SHARING:
        faults.append(
            f"keepalived_addresses is set, and the group edge has {len(edge)} host: nobody could take over. Add one, "
            "or leave keepalived_addresses out."
        )
    return faults


def _version(address: str) -> int:
    """The IP version of an address, 0 when it is none."""
    try:
        return ipaddress.ip_address(address).version
    except ValueError:
        return 0


def preflight_paths(paths: Mapping[str, str]) -> list[str]:
    """Return a sentence for each path, by its variable's name, that is none; a URL of static files is not all."""
    return [
        f"{name} is '{path}': write a path that begins with /."
        for name, path in paths.items()
        if not re.fullmatch(r'/[^\s"]*', str(path)) or (path == "/" and name == "app_static_url")
    ]


def preflight_hooks(hooks: Mapping[str, str], root: str) -> list[str]:
    """Return a sentence for each step that there is not, or file that has no tasks; relative ones are below `root`."""
    faults = []
    for step, file in hooks.items():
        fault = _tasks(str(Path(root, str(file)))) if step in STEPS else ""
        if fault or step not in STEPS:
            faults.append(
                f"app_hooks has '{step}: {file}': write one of {', '.join(STEPS)}, and the path of a file of Ansible "
                f"tasks. {fault}"
            )
    return faults


def preflight_module(name: str, directory: str) -> bool:
    """Whether a directory has a file for a Python module."""
    path = Path(directory, *name.split("."))
    return path.with_suffix(".py").is_file() or (path / "__init__.py").is_file()


def preflight_environment(dictionaries: Mapping[str, Mapping[str, Any] | None]) -> list[str]:
    """Return a sentence for each variable that no environment can hold, without its value; dictionaries by name."""
    faults = []
    for where, variables in dictionaries.items():
        if not isinstance(variables, Mapping | None):
            faults.append(f"{where} is no dictionary: write NAME: VALUE, one on each line.")
            continue
        for name, value in (variables or {}).items():
            plain = isinstance(value, str | int | float) and not re.search(r"[\x00-\x08\x0a-\x1f\x7f]", str(value))
            if not plain or not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", str(name)):
                faults.append(
                    f"{where}: '{name}' must be a name of letters, digits and underscores, with a value of one line, "
                    "text or a number."
                )
    return faults


def preflight_page(path: str) -> str:
    """Return what keeps a file from being served as a page without the application; empty when nothing does."""
    file = Path(path)
    if not file.is_file():
        return f"there is no file {path}."
    content = file.read_bytes()
    if not 0 < len(content) <= LARGEST_PAGE:
        return f"{path} has {len(content)} bytes: write some HTML, of at most {LARGEST_PAGE} bytes."
    try:
        template = re.search(r"{%.*?%}|{{.*?}}|{#.*?#}", content.decode())
    except UnicodeDecodeError:
        return f"{path} is no text in UTF-8."
    if template:
        return f"{path} is a template, with {template[0]} in it, and nobody fills it in: write plain HTML."
    return ""


def preflight_commands(celery: Mapping[str, Any], periodic: object, release: list[object]) -> list[str]:
    """Return a sentence for each choice of what is to be run beside the site that can't be meant.

    `celery` has app_celery_app, app_celery_beat and app_celery_arguments; `periodic` is app_periodic, and `release`
    app_release_commands.
    """
    faults = [
        f"app_release_commands has {command!r}: write a text, or a list of texts."
        for command in release
        if not (command.strip() if isinstance(command, str) else _are_arguments(command))
    ]
    app = str(celery["app_celery_app"])
    if app and not APP.fullmatch(app):
        faults.append(
            f"app_celery_app is '{app}': write what `celery --app` takes, such as mysite or mysite.celery:app."
        )
    if celery["app_celery_beat"] and not app:
        faults.append("app_celery_beat is true, and app_celery_app is not set: write whose schedule it is.")
    if not _are_words(celery["app_celery_arguments"]):
        faults.append("app_celery_arguments: write a list of texts of one line, such as ['--concurrency=2'].")
    if not isinstance(periodic, Mapping):
        return [*faults, f"app_periodic is {periodic!r}: write NAME: {PERIODIC}, one for each command."]
    for name, entry in periodic.items():
        if not UNIT.fullmatch(str(name)):
            faults.append(
                f"app_periodic has the name '{name}': write 40 lower-case letters, digits, _ and - at most, which the "
                "name of a unit can have."
            )
        if not isinstance(entry, Mapping) or set(entry) != {"command", "on_calendar"}:
            found = ", ".join(map(str, entry)) if isinstance(entry, Mapping) else repr(entry)
            faults.append(f"app_periodic: '{name}' has {found or 'nothing'}: write {PERIODIC}, and nothing else.")
            continue
        command, time = entry["command"], entry["on_calendar"]
        if not _are_words(command.split() if isinstance(command, str) else command) or not command:
            faults.append(f"app_periodic: the command of '{name}' is {command!r}: write a text, or a list of texts.")
        if not isinstance(time, str) or not _are_words([time]) or not time.strip():
            faults.append(
                f"app_periodic: on_calendar of '{name}' is {time!r}: write a text such as daily, or '04:30' in quotes."
            )
    return faults


def _are_arguments(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(word, str | int | float) for word in value)


def _are_words(value: object) -> bool:
    return isinstance(value, list) and all(
        isinstance(word, str) and not re.search(r"[\x00-\x1f\x7f]", word) for word in value
    )


def _specs(roles: Path) -> list[Path]:
    return sorted(roles.glob("*/meta/argument_specs.yml"))


@functools.lru_cache
def _options(roles: Path) -> dict[str, dict[str, Any]]:
    """All roles' public variables, by name."""
    found: dict[str, dict[str, Any]] = {}
    for path in _specs(roles):
        for entry in yaml_load(path.read_text())["argument_specs"].values():
            found |= entry.get("options") or {}
    return found


def _people(administrators: object) -> list[str]:
    if not isinstance(administrators, list):
        return ["base_administrators is no list: write one of {name: ..., key: ...}."]
    faults = []
    for person in administrators:
        known = person if isinstance(person, Mapping) else {}
        name, key = str(known.get("name", "")), str(known.get("key", ""))
        if not re.fullmatch(r"[a-z_][a-z0-9_-]{0,31}", name):
            faults.append(f"base_administrators has the name '{name}': write lower-case letters, digits, _ and -.")
        if not KEY.fullmatch(key.strip()):
            faults.append(
                f"base_administrators: the key of '{name}' is no public ssh key: write the line of a .pub file."
            )
    return faults


def _tasks(path: str) -> str:
    """Return why a file can't be included as tasks; empty when it can, as far as its YAML says.

    A file that the vault has encrypted is taken for one.
    """
    try:
        text = Path(path).read_text()
        if text.startswith("$ANSIBLE_VAULT"):
            return ""
        found = DataLoader().load(text, file_name=str(Path(path).resolve()))
    except (OSError, UnicodeDecodeError) as error:
        return f"It can't be read: {getattr(error, 'strerror', '') or error}."
    except AnsibleError as error:
        return error.message
    tasks = isinstance(found, list) and all(isinstance(task, dict) for task in found)
    return "" if tasks else "It is no list of tasks."


class FilterModule:
    """The filters of the role preflight."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by name, as Ansible asks for them."""
        return {
            "preflight_faults": preflight_faults,
            "preflight_known": preflight_known,
            "preflight_environment": preflight_environment,
            "preflight_module": preflight_module,
            "preflight_page": preflight_page,
            "preflight_addresses": preflight_addresses,
            "preflight_shared": preflight_shared,
            "preflight_hooks": preflight_hooks,
            "preflight_paths": preflight_paths,
            "preflight_wrong": preflight_wrong,
            "preflight_commands": preflight_commands,
        }
