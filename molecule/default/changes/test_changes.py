"""Runs for a part of the cluster, and a cluster that grows."""

from __future__ import annotations

import secrets
from collections.abc import Callable

import pytest
import testinfra
from loadtest.plays import run
from testinfra.host import Host

from support import cluster as clusters
from support.cluster import APPLICATION, Cluster, requests
from support.files import digests
from support.lab import lab
from support.traffic import Visitors
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


@pytest.fixture
def pool(hosts: dict[str, Host]) -> Callable[[], str]:
    """The web hosts as the edge knows them."""
    return lambda: hosts["edge1"].file("/etc/nginx/upstream.conf").content_string


def drained(pool: str, name: str) -> str:
    """A pool in which one host stays drained."""
    assert pool.count(f"; # {name}\n") == 1
    return pool.replace(f"; # {name}\n", f" down; # {name} drained\n")


def test_a_drained_web_host_stays_out_until_it_is_put_back(
    grown: Cluster, hosts: dict[str, Host], comers: Visitors, pool: Callable[[], str]
) -> None:
    whole = pool()
    assert whole.count(" fail_timeout=6s") == 3
    without = drained(whole, "web2")
    with comers.meanwhile("cached"):
        run("playbooks/drain.yml", grown.inventory, host="web2").succeeded()
        assert pool() == without
        refused = run("playbooks/drain.yml", grown.inventory, host="web1,web3").failed()
        assert "Nobody would be left in the pool without web1, web3" in refused.words
        assert pool() == without
        assert run(SITE, grown.inventory, "--limit", "edge1").succeeded().changed == {"edge1": 0}
        run("playbooks/restart.yml", grown.inventory).succeeded()
        assert pool() == without
        hosts["web2"].check_output("systemctl stop %s", APPLICATION)
        assert "web2" in run("playbooks/undrain.yml", grown.inventory, host="web2").failed().output
        assert pool() == without
        hosts["web2"].check_output("systemctl start %s", APPLICATION)
        run("playbooks/undrain.yml", grown.inventory, host="web2").succeeded()
        assert pool() == whole
    comers.visits[-1].assert_nobody_was_turned_away()


def test_a_web_host_whose_line_is_deleted_leaves_and_nobody_is_turned_away(
    cluster: Cluster, grown: Cluster, hosts: dict[str, Host], comers: Visitors, pool: Callable[[], str]
) -> None:
    with comers.meanwhile("cached"):
        done = run(SITE, cluster.inventory).succeeded()
    comers.visits[-1].assert_nobody_was_turned_away()
    assert done.output.index("PLAY [Web hosts that have left") < done.output.index("PLAY [Every host has the base]")
    assert "web3" not in pool()
    address = grown.addresses["web3"]
    for name, file in (("db1", "/etc/postgresql"), ("db1", "/etc/hugproof-firewall.nft")):
        assert hosts[name].run(f"grep -rwF {address} {file}").rc == 1


def test_a_retired_web_host_has_no_application(grown: Cluster) -> None:
    done = run("playbooks/retire.yml", grown.inventory, host="web3").succeeded()
    assert "web3 serves nobody any more. Delete its line" in done.words
    web3 = testinfra.get_hosts(["web3"], connection="ansible", ansible_inventory=str(grown.inventory), sudo=True)[0]
    assert not web3.service(APPLICATION).exists
    assert web3.run("pgrep --full uwsgi[.]ini").rc == 1
