"""Which sockets a host has to listen on: the whole list, from the inventory and the rung."""

from __future__ import annotations

from testinfra.host import Host

from support.cluster import Cluster

LOOPBACK = ("127.", "[::1]", "[::ffff:127.")


def listening(host: Host) -> set[str]:
    """The host's listening sockets that others may reach, such as `tcp 0.0.0.0:22`."""
    found = set()
    for line in host.check_output("ss --no-header --listening --tcp --udp --numeric").splitlines():
        protocol, _, _, _, local, *_ = line.split()
        if not local.startswith(LOOPBACK):
            found.add(f"{protocol} {local}".replace("*:", "[::]:"))
    return found


def expected(cluster: Cluster, name: str, rung: str) -> set[str]:
    """What has to listen on a host at a rung."""
    address = cluster.addresses[name]
    below_edge = rung in ("runserver", "uwsgi")
    found = {"tcp 0.0.0.0:22", "tcp [::]:22"}
    if name in cluster.groups["db"]:
        found.add(f"tcp {address}:5432")
        if cluster.pooled:
            found.add(f"tcp {address}:6432")
        if cluster.has_database_cluster:
            found.add(f"tcp {address}:8008")
    if name in cluster.groups["dcs"]:
        found |= {f"tcp {address}:2379", f"tcp {address}:2380"}
    if name in cluster.backed_up:
        found.add(f"tcp {address}:8432")
    if name in cluster.groups["backup"]:
        found.add(f"tcp {address}:8433")
    if name in cluster.groups["cache"]:
        found.add(f"tcp {address}:11211")
    if below_edge and name == cluster.groups["web"][0]:
        found.add(f"tcp {address}:8000")
    if not below_edge and name in cluster.groups["web"]:
        found.add(f"tcp {address}:3031")
    if not below_edge and name in cluster.groups["edge"]:
        found |= {f"tcp {any_address}:{port}" for any_address in ("0.0.0.0", "[::]") for port in (80, 443)}  # noqa: S104
        if cluster.releases[name] != "bookworm":
            found |= {"udp 0.0.0.0:443", "udp [::]:443"}
    return found
