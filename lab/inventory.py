"""Read what the lab has to be from an ordinary Ansible inventory."""

from __future__ import annotations

import ipaddress
import json
import math
import re
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.errors import LabError

RELEASES = ("trixie", "bookworm")
LOGIN_USER = "debian"
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*")
_LAB_NETWORKS = [ipaddress.ip_network(net) for net in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")]


@dataclass(frozen=True)
class Host:
    """One host to be: `cpus` is a share of the machine's CPU time, None for no limit."""

    name: str
    address: str
    release: str = RELEASES[0]
    cpus: float | None = None


@dataclass(frozen=True)
class Lab:
    """The hosts of one inventory, all in one /24, and its groups with their hosts in order."""

    source: str
    network: ipaddress.IPv4Network
    hosts: tuple[Host, ...]
    groups: dict[str, list[str]]

    @property
    def subnet(self) -> str:
        """The network's address, which names the lab everywhere: 10.43.0.0."""
        return str(self.network.network_address)

    def select(self, names: list[str]) -> list[Host]:
        """Return the named hosts, or all of them when no name is given.

        Raises LabError for a name that the inventory does not have.
        """
        known = {host.name: host for host in self.hosts}
        if unknown := [name for name in names if name not in known]:
            raise LabError(f"{self.source} has no host {', '.join(unknown)}; it has {', '.join(known)}.")
        return [known[name] for name in names] if names else list(self.hosts)


def load(path: Path) -> Lab:
    """Run ansible-inventory on an inventory file or directory and check the result.

    Raises LabError when Ansible is missing or refuses the inventory, and for whatever `parse` refuses.
    """
    if not path.exists():
        raise LabError(f"There is no inventory {path}.")
    tool = Path(sys.executable).parent / "ansible-inventory"
    if not tool.exists():
        raise LabError(f"{tool} is missing: run the lab with the Python of a venv that has Ansible (make .venv).")
    done = subprocess.run([tool, "-i", path, "--list"], capture_output=True, text=True)
    if done.returncode:
        raise LabError(f"Ansible can not read the inventory {path}:\n{done.stderr.strip()}")
    return parse(json.loads(done.stdout), str(path))


def parse(listing: dict[str, Any], source: str) -> Lab:
    """Turn the output of `ansible-inventory --list` into a Lab.

    Raises LabError, which names every faulty host and says what to write, when a lab can't be made of it.
    """
    groups = {name: _members(listing, name) for name in listing if name != "_meta"}
    names = groups.get("all") or []
    if not names:
        raise LabError(f"{source} has no hosts: add at least one with an ansible_host such as 10.43.0.11.")
    hostvars = listing.get("_meta", {}).get("hostvars", {})
    faults: list[str] = []
    hosts = tuple(host for name in names if (host := _host(name, hostvars.get(name, {}), faults)))
    for address, count in Counter(host.address for host in hosts).items():
        if count > 1:
            who = " and ".join(host.name for host in hosts if host.address == address)
            faults.append(f"{who} have the same ansible_host {address}: give each an address of its own.")
    networks = {ipaddress.ip_network(f"{host.address}/24", strict=False) for host in hosts}
    if len(networks) > 1:
        seen = ", ".join(f"{host.name} {host.address}" for host in hosts)
        faults.append(f"The hosts' addresses are not all in one /24, which a lab needs ({seen}).")
    if faults:
        raise LabError("\n".join(f"{source}: {fault}" for fault in faults))
    network = networks.pop()
    assert isinstance(network, ipaddress.IPv4Network)
    return Lab(source, network, hosts, groups)


def _members(listing: dict[str, Any], group: str) -> list[str]:
    """The hosts of a group and of its child groups, each once, in the inventory's order."""
    entry = listing.get(group, {})
    found = list(entry.get("hosts", []))
    for child in entry.get("children", []):
        found += _members(listing, child)
    return list(dict.fromkeys(found))


def _host(name: str, variables: dict[str, Any], faults: list[str]) -> Host | None:
    """One checked host; what is wrong with it is added to `faults`."""
    before = len(faults)
    if len(name) > 50 or not _NAME.fullmatch(name):
        faults.append(f"Host '{name}' can not be a host name: use lower-case letters, digits, dots and hyphens.")
    address = str(variables.get("ansible_host", ""))
    if not address:
        faults.append(f"Host '{name}' has no ansible_host: write an address of the lab's /24, such as 10.43.0.11.")
    elif fault := _address_fault(address):
        faults.append(f"Host '{name}': ansible_host {address} {fault}")
    release = variables.get("lab_release", RELEASES[0])
    if release not in RELEASES:
        faults.append(f"Host '{name}': lab_release '{release}' is not known: write {' or '.join(RELEASES)}.")
    if (user := variables.get("ansible_user", LOGIN_USER)) != LOGIN_USER:
        faults.append(
            f"Host '{name}': lab hosts are logged into as {LOGIN_USER}: write ansible_user: {LOGIN_USER} "
            f"in place of {user}."
        )
    cpus = variables.get("lab_cpus")
    if cpus is not None and not (_is_number(cpus) and float(cpus) >= 0.01):
        faults.append(f"Host '{name}': lab_cpus '{cpus}' is not a number of CPUs: write one such as 0.5.")
    if len(faults) > before:
        return None
    return Host(name, address, release, None if cpus is None else float(cpus))


def _address_fault(address: str) -> str | None:
    """What keeps an address from being a lab host's, or None."""
    try:
        parsed = ipaddress.IPv4Address(address)
    except ValueError:
        return "is not an IPv4 address: write one such as 10.43.0.11."
    if not any(parsed in network for network in _LAB_NETWORKS):
        return "is not a private address; a lab makes its own hosts, with addresses such as 10.43.0.11."
    if int(parsed) % 256 in (0, 1, 255):
        return "is taken in every lab: .0 and .255 are the network's, .1 is the gateway's."
    return None


def _is_number(value: object) -> bool:
    try:
        return math.isfinite(float(str(value)))
    except ValueError:
        return False
