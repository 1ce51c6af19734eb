"""A database host that was alone becomes the first of three: its data stays, for one restart that is told before."""

from __future__ import annotations

import pytest
from loadtest.plays import run
from testinfra.host import Host

from support import cluster as clusters
from support.cluster import APPLICATION, Cluster, manage
from support.database import Database
from support.wait import eventually

ALONE = "    db:\n      hosts:\n        data1: {ansible_host: 10.44.1.11}\n"
MORE = (
    "        web1:\n        edge1:\n"
    "    dcs:\n      hosts:\n        data1:\n        web1:\n        edge1:\n"
)  # fmt: skip
COUNT = "from people.models import Profile; print(Profile.objects.count())"


def profiles(host: Host) -> int:
    return int(manage(host, "shell", "-v0", "-c", COUNT))


def test_one_database_host_becomes_three_and_keeps_its_data(
    cluster: Cluster, hosts: dict[str, Host], web: list[Host], tmp_path_factory: pytest.TempPathFactory
) -> None:
    run("site.yml", cluster.inventory).succeeded()
    if not profiles(web[0]):
        manage(web[0], "seed_profiles", "--count", "150")
    before = profiles(web[0])
    assert before > 0
    inventory = clusters.variant(cluster, tmp_path_factory.mktemp("grown"), ALONE, MORE)
    done = run("site.yml", inventory).succeeded()
    assert "data1 was the only database host. Its data becomes that of the cluster: it restarts once" in done.words
    database = Database(clusters.load(inventory), hosts)
    eventually(database.is_whole, limit=60)
    assert database.leader() == "data1"
    assert [profiles(host) for host in web] == [before] * len(web)
    count = f"cd /; sudo -u postgres psql -tAc 'SELECT count(*) FROM people_profile' {APPLICATION}"
    assert {int(hosts[name].check_output(count)) for name in database.names} == {before}
    again = run("site.yml", inventory).succeeded()
    assert set(again.changed.values()) == {0}
    assert "was the only database host" not in again.words


def test_a_cluster_is_not_made_one_host_again(cluster: Cluster, hosts: dict[str, Host]) -> None:
    """Its one host would start a server beside the cluster's."""
    done = run("site.yml", cluster.inventory).failed()
    assert "data1 is a member of a database cluster" in done.words
    assert hosts["data1"].service("patroni@17-main").is_running
