"""The cluster under test, as its inventory describes it."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from testinfra.host import Host

PROJECT = Path(__file__).resolve().parents[2]
APPLICATION = "people"
DOMAIN = "people.test"
# Groups among which a host shares its memory.
SHARING = ("db", "cache", "web", "edge")


@dataclass(frozen=True)
class Cluster:
    """Hosts by group, and what is known of each from the inventory alone."""

    inventory: Path
    groups: dict[str, list[str]]
    addresses: dict[str, str]
    releases: dict[str, str]
    # Addresses that the edge hosts share.
    shared: list[str]
    # Whether the application reaches the database through PgBouncer.
    pooled: bool

    @property
    def state(self) -> Path:
        """Where the scenario's secrets and certificates are."""
        return PROJECT / ".lab" / self.inventory.parent.name

    @property
    def authority(self) -> Path:
        """The certificate that the site's own is verified against."""
        return self.state / "certificates" / "authority.crt"

    @property
    def backed_up(self) -> list[str]:
        """The hosts that take part in backups, which all speak pgBackRest's protocol."""
        return self.groups["db"] + self.groups["backup"] if self.groups["backup"] else []

    @property
    def edge(self) -> str:
        """Address of the first edge host."""
        return self.addresses[self.groups["edge"][0]]

    @property
    def has_database_cluster(self) -> bool:
        """Whether another database host takes over when one is lost."""
        return len(self.groups["db"]) > 1

    def shares(self, name: str) -> int:
        """Among how many groups a host shares its memory."""
        return sum(name in self.groups[group] for group in SHARING)

    def secrets(self) -> dict[str, str]:
        """The scenario's secrets, by name."""
        return {path.name: path.read_text().strip() for path in (self.state / "secrets").glob("*_*")}


@dataclass(frozen=True)
class Account:
    """Somebody who may log in to the site."""

    name: str
    password: str


def load(inventory: Path) -> Cluster:
    """Read an inventory with Ansible's own eyes."""
    command = ["ansible-inventory", "-i", str(inventory), "--list"]
    listing = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    hosts = listing["_meta"]["hostvars"]
    return Cluster(
        inventory=inventory,
        groups={group: listing.get(group, {}).get("hosts", []) for group in (*SHARING, "dcs", "backup")},
        addresses={name: values["ansible_host"] for name, values in hosts.items()},
        releases={name: values.get("lab_release", "trixie") for name, values in hosts.items()},
        shared=next(iter(hosts.values())).get("keepalived_addresses", []),
        pooled=next(iter(hosts.values())).get("site_pgbouncer", False),
    )


def variant(cluster: Cluster, directory: Path, after: str, line: str) -> Path:
    """Copy the scenario's inventory with one line more, and return the copy; it keeps the scenario's secrets."""
    inventory = directory / cluster.inventory.parent.name / "inventory"
    inventory.mkdir(parents=True)
    (inventory / "group_vars").symlink_to(PROJECT / "inventories" / "lab" / "group_vars")
    text = (cluster.inventory / "hosts.yml").read_text().replace("{{ inventory_dir }}/../../..", str(PROJECT))
    assert text.count(after) == 1
    (inventory / "hosts.yml").write_text(text.replace(after, after + line))
    return inventory


def manage(host: Host, *arguments: str, **environment: str) -> str:
    """Run manage.py on a web host, as the application's user and with its environment."""
    command = ["env", *(f"{name}={value}" for name, value in environment.items()), "hugproof-manage", *arguments]
    return str(host.check_output(" ".join(["%s"] * len(command)), *command))


def uwsgi_stats(host: Host) -> dict[str, Any]:
    """What uWSGI on a web host tells of itself."""
    read = "import socket; s = socket.socket(socket.AF_UNIX); s.connect(%r); print(s.makefile().read())"
    return dict(json.loads(host.check_output("python3 -c %s", read % f"/run/{APPLICATION}/stats.sock")))


def requests(host: Host) -> int:
    """How many requests the application's workers on a web host have answered."""
    return sum(worker["requests"] for worker in uwsgi_stats(host)["workers"])
