"""Every host: healthy, closed but for what the site needs, and without a secret in the open."""

from __future__ import annotations

import itertools
import os
import shlex
import socket
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest
from testinfra.host import Host

from support import sockets
from support.cluster import Cluster
from support.wait import eventually

testinfra_hosts = ["all"]

PORTS = (22, 80, 443, 2379, 2380, 3031, 5432, 6432, 8000, 8008, 8432, 8433, 11211)
# Where services and people keep files; the rest of a host is Debian's own.
PLACES = "/etc /home /opt /root /run /srv /tmp /usr/local /var"


@pytest.fixture
def name(host: Host) -> str:
    """The host's name in the inventory."""
    return str(host.backend.host)


def test_no_unit_has_failed(host: Host) -> None:
    assert host.check_output("systemctl --failed --no-legend --plain") == ""
    eventually(lambda: host.run("systemctl is-system-running").stdout.strip() == "running", limit=120)


def test_exactly_the_sites_sockets_listen(host: Host, name: str, cluster: Cluster) -> None:
    wanted = sockets.expected(cluster, name, "cached")
    eventually(lambda: sockets.listening(host) >= wanted, limit=30)
    assert sockets.listening(host) == wanted


@pytest.fixture(scope="session")
def reached(hosts: dict[str, Host], cluster: Cluster) -> dict[str, set[str]]:
    """Which ports of the others every host reaches, such as 10.44.0.11/22; all are tried at once."""

    def scan(source: str) -> set[str]:
        others = [address for name, address in cluster.addresses.items() if name != source]
        targets = " ".join(f"{address}/{port}" for address in others for port in PORTS)
        knock = 'timeout 3 bash -c "exec 3<>/dev/tcp/$t" 2>/dev/null && echo $t'
        return set(hosts[source].check_output("bash -c %s", f"for t in {targets}; do ({knock}) & done; wait").split())

    with ThreadPoolExecutor() as pool:
        return dict(zip(hosts, pool.map(scan, hosts), strict=True))


@pytest.fixture(scope="session")
def reached_from_outside(cluster: Cluster) -> set[tuple[str, int]]:
    """Which ports of every host this machine reaches, which is in no group."""

    def knock(target: tuple[str, int]) -> bool:
        try:
            with socket.create_connection((cluster.addresses[target[0]], target[1]), timeout=3):
                return True
        except TimeoutError:
            return False

    targets = list(itertools.product(cluster.addresses, PORTS))
    with ThreadPoolExecutor(len(targets)) as pool:
        return {target for target, open_ in zip(targets, pool.map(knock, targets), strict=True) if open_}


def test_only_the_entitled_reach_a_port(name: str, host: Host, cluster: Cluster, reached: dict[str, set[str]]) -> None:
    """What is dropped here does listen: see the test above."""
    wanted = {f"{cluster.addresses[other]}/{port}" for other, port in _entitled(cluster, name)}
    assert reached[name] <= wanted
    # With all at once, a knock may have ended before it was begun.
    for missed in wanted - reached[name]:
        eventually(
            lambda target=missed: host.run("timeout 3 bash -c %s", f"exec 3<>/dev/tcp/{target}").rc == 0, limit=10
        )


def test_the_outside_reaches_the_edge_and_ssh_alone(
    name: str, cluster: Cluster, reached_from_outside: set[tuple[str, int]]
) -> None:
    wanted = {22} | ({80, 443} if name in cluster.groups["edge"] else set())
    assert {port for host, port in reached_from_outside if host == name} == wanted


def _entitled(cluster: Cluster, source: str) -> set[tuple[str, int]]:
    """Which ports of the other hosts a host may reach."""
    services = [("db", 5432, "web"), ("cache", 11211, "web"), ("web", 3031, "edge")]
    services += [("dcs", 2379, "db"), ("dcs", 2379, "dcs"), ("dcs", 2380, "dcs"), ("backup", 8433, "web")]
    if cluster.pooled:
        services.append(("db", 6432, "web"))
    if cluster.has_database_cluster:
        services += [("db", 5432, "db"), ("db", 8008, "db")]
    found = {(target, 22) for target in cluster.addresses}
    found |= {(target, port) for target in cluster.groups["edge"] for port in (80, 443)}
    for group, port, clients in services:
        if source in cluster.groups[clients]:
            found |= {(target, port) for target in cluster.groups[group]}
    if source in cluster.backed_up:
        found |= {(target, 8432) for target in cluster.backed_up}
    return {(target, port) for target, port in found if target != source}


def test_the_firewall_drops_by_default_and_is_there_at_boot(host: Host) -> None:
    assert "policy drop;" in host.check_output("nft list chain inet hugproof input")
    assert host.service("hugproof-firewall").is_enabled


def test_ssh_lets_a_new_connection_in(name: str, cluster: Cluster) -> None:
    command = ["ssh", "-F", str(cluster.state.parent / "ssh_config"), "-o", "ControlPath=none"]
    done = subprocess.run(
        [*command, f"debian@{cluster.addresses[name]}", "sudo -n id -u"], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout.strip()) == (0, "0"), done.stderr


def test_no_secret_can_be_read_by_everybody(name: str, cluster: Cluster) -> None:
    """Neither in files, nor in command lines, nor in what Ansible and the services log."""
    search = (
        "secrets=$(mktemp); trap 'rm -f $secrets' EXIT; cat > $secrets; test -s $secrets;"
        f" find {PLACES} -ignore_readdir_race -xdev -type f -perm /o=r -size -20M -exec grep -slFf $secrets {{}} +;"
        " grep -laFf $secrets /proc/[0-9]*/cmdline 2>/dev/null;"
        " journalctl --no-pager --quiet | grep -m3 -Ff $secrets"
    )
    values = cluster.secrets()
    assert {"app_secret_key", "app_database_password"} <= set(values)
    assert _over_ssh(cluster, name, f"sudo sh -c {shlex.quote(search)}", "\n".join(values.values())) == ""


def _over_ssh(cluster: Cluster, name: str, command: str, text: str) -> str:
    """Run a command with `text` on its standard input: what stands there is in no log."""
    config = str(cluster.state.parent / "ssh_config")
    done = subprocess.run(
        ["ssh", "-F", config, f"debian@{cluster.addresses[name]}", command],
        input=text, capture_output=True, text=True, env=os.environ,
    )  # fmt: skip
    assert done.stderr == ""
    return done.stdout


def test_the_bytecode_of_ansibles_modules_is_kept_where_root_alone_can_write(host: Host) -> None:
    kept = host.file("/var/cache/hugproof/ansible")
    assert (kept.user, kept.mode) == ("root", 0o700)
    assert kept.listdir()
    assert (host.file("/usr/local/lib/hugproof-ansible").user, host.file("/usr/local/lib").user) == ("root", "root")


def test_the_kernel_queues_what_the_servers_ask_for(host: Host) -> None:
    assert host.sysctl("net.core.somaxconn") >= 4096
    assert host.sysctl("net.ipv4.tcp_max_syn_backlog") >= 8192
