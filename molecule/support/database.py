"""The database cluster, as its members tell of it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from testinfra.host import Host

from support.cluster import Cluster

HEALTHY = ("running", "streaming")


@dataclass(frozen=True)
class Database:
    """The members of the cluster: `hosts` are all hosts of the inventory, by name."""

    cluster: Cluster
    hosts: dict[str, Host]

    @property
    def names(self) -> list[str]:
        return self.cluster.groups["db"]

    def ask(self, path: str, name: str = "", *options: str) -> dict[str, Any]:
        """Ask Patroni on a member, or on the first that answers; OSError when none does."""
        for member in [name] if name else self.names:
            url = f"http://{self.cluster.addresses[member]}:8008/{path}"
            words = ["curl", "--silent", "--max-time", "5", *options, url]
            try:
                done = self.hosts[member].run(" ".join(["%s"] * len(words)), *words)
            except RuntimeError:  # testinfra's, when ssh does not get through
                continue
            if done.rc == 0 and done.stdout.startswith("{"):
                return dict(json.loads(done.stdout))
        raise OSError(f"Patroni does not answer on {name or self.names}")

    def members(self) -> dict[str, dict[str, Any]]:
        """What each member is, by name: role, state, timeline, lag."""
        return {member["name"]: member for member in self.ask("cluster")["members"]}

    def leader(self) -> str:
        """The member that says of itself that it takes writes; empty while there is none."""
        for name in self.names:
            try:
                own = self.ask("patroni", name)
            except OSError:
                continue
            if own["role"] in ("primary", "master") and own["state"] == "running":
                return name
        return ""

    def synchronous(self) -> str:
        """The standby that has every acknowledged write."""
        [name] = [name for name, member in self.members().items() if member["role"] == "sync_standby"]
        return name

    def copying(self) -> set[str]:
        """The standbys that the leader sends what is written."""
        told = self.ask("leader", self.leader()).get("replication", [])
        return {one["application_name"] for one in told if one["state"] == "streaming"}

    def is_whole(self) -> bool:
        """Whether all members run on one timeline, by their own words, and copy what the leader writes; one of them has
        every acknowledged write."""
        members = self.members()
        own = [self.ask("patroni", name) for name in self.names]
        return (
            sorted(members) == sorted(self.names)
            and all(member["state"] in HEALTHY for member in members.values())
            and {member["state"] for member in own} == {"running"}
            and len({member["timeline"] for member in own}) == 1
            and {"sync_standby"} <= {member["role"] for member in members.values()}
            and set(self.names) <= {self.leader(), *self.copying()}
        )

    def version(self) -> str:
        """The major version that the leader runs."""
        return self.query(self.leader(), "SHOW server_version").split(".")[0]

    def query(self, name: str, statement: str) -> str:
        """One value of a query on a member, asked as the superuser."""
        return str(self.hosts[name].check_output("cd /; sudo -u postgres psql --no-psqlrc -tAc %s", statement))
