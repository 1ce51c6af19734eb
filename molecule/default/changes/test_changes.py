"""Runs for a part of the cluster, and a cluster that grows."""

from __future__ import annotations

import secrets
from collections.abc import Callable

import pytest
import testinfra
from testinfra.host import Host

from support import cluster as clusters
from support.cluster import APPLICATION, Cluster, requests
from support.files import digests
from support.lab import lab
from support.playbook import run
from support.traffic import Visitors, visitors
from support.web import Browser

SITE = "site.yml"


@pytest.fixture(scope="module")
def managed(hosts: dict[str, Host]) -> dict[str, dict[str, str]]:
    """What stands on every host before."""
    return {name: digests(host) for name, host in hosts.items()}


def started(host: Host, unit: str) -> str:
    """When a unit was started last."""
    return str(host.check_output(f"systemctl show --property=ActiveEnterTimestampMonotonic --value {unit}"))


def test_a_run_for_one_host_changes_nothing(
    cluster: Cluster, hosts: dict[str, Host], managed: dict[str, dict[str, str]]
) -> None:
    done = run(SITE, cluster.inventory, "--limit", "web2").succeeded()
    assert done.changed == {"web2": 0}
    assert {name: digests(host) for name, host in hosts.items()} == managed


def test_a_run_for_one_host_renders_what_a_full_run_does(
    cluster: Cluster, hosts: dict[str, Host], managed: dict[str, dict[str, str]]
) -> None:
    """With its files gone they have to come from the inventory alone: no fact of another host is known."""
    release = hosts["web2"].check_output(f"readlink /srv/{APPLICATION}/current")
    rendered = [
        f"{release}/environment",
        f"{release}/uwsgi.ini",
        f"/etc/systemd/system/{APPLICATION}.service",
        "/etc/hugproof-firewall.nft",
    ]
    assert set(rendered) <= set(managed["web2"])
    hosts["web2"].check_output("rm " + " ".join(rendered))
    run(SITE, cluster.inventory, "--limit", "web2").succeeded()
    assert {name: digests(host) for name, host in hosts.items()} == managed
    assert hosts["web2"].service(APPLICATION).is_running


@pytest.fixture(scope="module")
def grown(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Cluster:
    """The cluster with one line more in its inventory, and a choice for its edge; the new host is up, and bare."""
    web2 = "        web2: {ansible_host: 10.44.0.32, lab_release: bookworm}\n"
    web3 = "        web3: {ansible_host: 10.44.0.33}\n"
    inventory = clusters.variant(cluster, tmp_path_factory.mktemp("grown"), web2, web3)
    (inventory / "host_vars").mkdir()
    (inventory / "host_vars" / "edge1.yml").write_text("nginx_lb_fail_timeout: 6s\n")
    lab(inventory, "up")
    return clusters.load(inventory)


@pytest.fixture(scope="module")
def comers(cluster: Cluster, profiles: int) -> Visitors:
    """Visitors of the cluster, whatever its size."""
    return visitors(cluster.inventory)


def test_a_third_web_host_joins_and_nobody_restarts(
    grown: Cluster, hosts: dict[str, Host], new_visitor: Callable[[], Browser], comers: Visitors
) -> None:
    units = {"web1": APPLICATION, "web2": APPLICATION, "edge1": "varnish", "cache1": "memcached", "db1": "postgresql@*"}
    before = {name: started(hosts[name], unit) for name, unit in units.items()}
    nginx = started(hosts["edge1"], "nginx")
    with comers.meanwhile("cached"):
        done = run(SITE, grown.inventory).succeeded()
    comers.visits[-1].assert_nobody_was_turned_away()
    assert done.changed["web1"] == done.changed["web2"] == 0
    assert {name: started(hosts[name], unit) for name, unit in units.items()} == before
    assert started(hosts["edge1"], "nginx") == nginx
    web3 = testinfra.get_hosts(["web3"], connection="ansible", ansible_inventory=str(grown.inventory), sudo=True)[0]
    earlier = requests(web3)
    for _ in range(12):
        assert new_visitor().get(f"/?unseen={secrets.token_hex(8)}").status == 200
    assert requests(web3) > earlier


def test_the_grown_cluster_is_converged(grown: Cluster) -> None:
    assert set(run(SITE, grown.inventory).succeeded().changed.values()) == {0}


def test_a_drained_web_host_leaves_and_nobody_is_turned_away(
    cluster: Cluster, grown: Cluster, hosts: dict[str, Host], comers: Visitors
) -> None:
    def pool() -> str:
        return hosts["edge1"].file("/etc/nginx/upstream.conf").content_string

    before = pool()
    assert before.count(" fail_timeout=6s") == 3
    with comers.meanwhile("cached"):
        run("playbooks/pool.yml", grown.inventory, drained=["web3"]).succeeded()
        assert pool() == before.replace("; # web3", " down; # web3")
        run("playbooks/pool.yml", grown.inventory, drained=["web2", "web3"]).succeeded()
        assert pool() == before.replace("; # web2", " down; # web2").replace("; # web3", " down; # web3")
        run("playbooks/pool.yml", grown.inventory, drained=["web3"]).succeeded()
        run(SITE, cluster.inventory).succeeded()
    comers.visits[-1].assert_nobody_was_turned_away()
