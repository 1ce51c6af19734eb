"""A site on one host, and runs of site.yml on it."""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from loadtest.plays import Run, run
from testinfra.host import Host

from support.cluster import APPLICATION, Cluster
from support.web import Browser


@dataclass(frozen=True)
class Site:
    """The one host of the scenario, and runs of site.yml on it."""

    host: Host
    cluster: Cluster

    def converge(self, *arguments: str, **variables: object) -> Run:
        return run("site.yml", self.cluster.inventory, *arguments, **variables)

    def browser(self) -> Browser:
        return Browser(self.cluster.edge, 443, self.cluster.authority)

    def service(self) -> str:
        """Which start of the application serves, and from which release."""
        started = f"systemctl show --property=ActiveEnterTimestampMonotonic --value {APPLICATION}"
        return str(self.host.check_output(f"{started}; readlink /srv/{APPLICATION}/current"))

    def answers(self) -> bool:
        """Whether the application makes a page right now: an address that no cache can know."""
        return self.browser().get(f"/?unseen={secrets.token_hex(8)}").status == 200
