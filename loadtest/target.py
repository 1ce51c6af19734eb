"""The cluster that load is for, as its inventory describes it."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import testinfra
from testinfra.host import Host

PROJECT = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent


class LoadError(Exception):
    """Something that the user can act on."""


@dataclass(frozen=True)
class Login:
    """How ssh reaches a host: an address for testinfra, and more of ssh's own arguments."""

    address: str
    arguments: str


@dataclass(frozen=True)
class Target:
    """Hosts by group, their addresses, and the site's name; `shared` is the address that edge hosts share, if any."""

    inventory: Path
    domain: str
    application: str
    groups: dict[str, list[str]]
    addresses: dict[str, str]
    logins: dict[str, Login]
    caps: dict[str, float]
    shared: str = ""

    @property
    def entry(self) -> str:
        """The address that visitors reach the site by; empty when it has no edge."""
        return self.shared or (self.addresses[self.groups["edge"][0]] if self.groups["edge"] else "")

    def url(self, rung: str) -> str:
        """Where the site answers at a rung."""
        if rung in ("balanced", "cached"):
            return f"https://{self.domain}"
        return f"http://{self.addresses[self.groups['web'][0]]}:8000"

    @property
    def resolved(self) -> str:
        """For LOADTEST_ADDRESSES: the site's name leads to where visitors come in."""
        pairs = [f"{address}={address}" for address in self.addresses.values()]
        return " ".join([*pairs, f"{self.domain}={self.entry}"] if self.entry else pairs)

    def hosts(self) -> dict[str, Host]:
        """All hosts, entered as Ansible enters them."""
        # Where ssh keeps the connections that it shares.
        (Path.home() / ".ssh").mkdir(mode=0o700, exist_ok=True)
        return {
            name: testinfra.get_host(login.address, ssh_extra_args=login.arguments, sudo=True)
            for name, login in self.logins.items()
        }


def load(inventory: Path) -> Target:
    """Read an inventory with Ansible's own eyes.

    Raises LoadError when there is none, or Ansible refuses it, or a group that every rung needs is empty.
    """
    if not inventory.exists():
        raise LoadError(f"There is no inventory {inventory}.")
    listing = json.loads(_ansible("ansible-inventory", "-i", str(inventory), "--list"))
    groups = {group: _members(listing, group) for group in ("db", "cache", "web", "edge", "dcs", "backup")}
    if empty := [group for group in ("db", "cache", "web") if not groups[group]]:
        raise LoadError(f"{inventory}: the group {' and '.join(empty)} has no host; every rung needs one.")
    known = _rendered(inventory)
    names = list(dict.fromkeys(name for members in groups.values() for name in members))
    first = known[groups["web"][0]]
    for variable in ("site_domain", "app_name"):
        if not first[variable]:
            raise LoadError(f"{inventory} does not say {variable}.")
    return Target(
        inventory=inventory,
        domain=first["site_domain"],
        application=first["app_name"],
        groups=groups,
        addresses={name: known[name]["address"] or known[name]["ansible_host"] or name for name in names},
        logins={name: _login(name, known[name]) for name in names},
        caps={name: float(known[name]["lab_cpus"]) for name in names if known[name]["lab_cpus"]},
        shared=next(iter(known[groups["edge"][0]]["keepalived_addresses"].split()), "") if groups["edge"] else "",
    )


def _members(listing: dict[str, dict[str, list[str]]], group: str) -> list[str]:
    entry = listing.get(group, {})
    below = [name for child in entry.get("children", []) for name in _members(listing, child)]
    return [*entry.get("hosts", []), *below]


# What an inventory says of its hosts, rendered: testinfra's own reader leaves Jinja as it is.
VARIABLES = (
    "site_domain", "app_name", "address", "lab_cpus", "ansible_host", "ansible_port", "ansible_user",
    "ansible_ssh_common_args", "ansible_ssh_private_key_file",
)  # fmt: skip


def _rendered(inventory: Path) -> dict[str, dict[str, str]]:
    wanted = ", ".join(f"'{name}': {name} | default('', true) | string" for name in VARIABLES)
    wanted += ", 'keepalived_addresses': keepalived_addresses | default([], true) | join(' ')"
    message = "msg={{ {" + wanted + "} }}"
    said = _ansible("ansible", "-i", str(inventory), "all", "-o", "-m", "ansible.builtin.debug", "-a", message)
    found = re.findall(r"^(\S+) \| SUCCESS => (\{.*\})$", said, re.MULTILINE)
    return {name: json.loads(answer)["msg"] for name, answer in found}


def _login(name: str, known: dict[str, str]) -> Login:
    key = ("-i", known["ansible_ssh_private_key_file"]) if known["ansible_ssh_private_key_file"] else ()
    user = f"{known['ansible_user']}@" if known["ansible_user"] else ""
    port = f":{known['ansible_port']}" if known["ansible_port"] else ""
    arguments = shlex.join(
        [*shlex.split(known["ansible_ssh_common_args"]), *key, "-o", "ControlPath=~/.ssh/hugproof-%C"]
    )
    return Login(f"ssh://{user}{known['ansible_host'] or name}{port}", arguments)


def _ansible(tool: str, *arguments: str) -> str:
    # Molecule has its tools write in colour, which is in the way of reading.
    plain = os.environ | {"ANSIBLE_FORCE_COLOR": "0", "ANSIBLE_NOCOLOR": "1"}
    done = subprocess.run([str(BIN / tool), *arguments], cwd=PROJECT, capture_output=True, text=True, env=plain)
    if done.returncode:
        raise LoadError(f"{tool} {' '.join(arguments)}:\n{(done.stderr or done.stdout).strip()}")
    return done.stdout
