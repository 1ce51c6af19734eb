"""The hosts' own packages are upgraded, and hosts reboot, while visitors come."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import pytest
from loadtest.plays import run
from loadtest.results import summary
from testinfra.host import Host

from support.cluster import APPLICATION, Cluster
from support.traffic import Visitors
from support.wait import eventually

UPGRADE = "playbooks/upgrade_os.yml"
# An archive with the second version of two packages; the first is installed, and one of them held.
ARCHIVE = """
set -eu
mkdir -p /srv/probes/tree/DEBIAN && cd /srv/probes
for version in 1 2; do for name in probe-free probe-held; do
    printf 'Package: %s\\nVersion: %s\\nArchitecture: all\\nMaintainer: nobody\\nDescription: a probe\\n' \\
        $name $version >tree/DEBIAN/control
    dpkg-deb --build tree $name-$version.deb
done; done
dpkg --install probe-free-1.deb probe-held-1.deb
for file in probe-free-2.deb probe-held-2.deb; do
    dpkg-deb --field $file
    printf 'Filename: ./%s\\nSize: %s\\nSHA256: %s\\n\\n' $file $(stat -c %s $file) $(sha256sum $file | cut -c -64)
done >Packages
echo 'deb [trusted=yes] file:/srv/probes ./' >/etc/apt/sources.list.d/probes.list
apt-mark hold probe-held
"""
NO_ARCHIVE = "dpkg --purge probe-free probe-held && rm -r /srv/probes"
# Debian may bring what needs a reboot at any moment, and nobody stands in for the edge host.
WITHOUT_DEBIAN = "cp -a /etc/apt /etc/apt.kept && rm -f /etc/apt/sources.list /etc/apt/sources.list.d/*"
WITH_DEBIAN = "rm -r /etc/apt && mv /etc/apt.kept /etc/apt && apt-get update"
# What an upgrade does to a file that the application's workers have mapped.
REPLACE = """
worker=$(pgrep --parent %s | head -n 1)
file=$(grep --only-matching --max-count=1 '/usr/.*/lib-dynload/.*[.]so$' /proc/$worker/maps) && cp -a $file $file.new &&
mv $file.new $file
"""


@pytest.fixture
def probes(hosts: dict[str, Host]) -> Iterator[Callable[[], dict[str, str]]]:
    """The versions of two packages on web2, of which the archive has later ones; nothing else has any on both hosts."""
    web2, upgraded = hosts["web2"], [hosts["web2"], hosts["edge1"]]

    def versions() -> dict[str, str]:
        asked = web2.check_output("dpkg-query --show 'probe-*'")
        return dict(line.split("\t") for line in asked.splitlines())

    for host in upgraded:
        host.check_output("sh -c %s", WITHOUT_DEBIAN)
    web2.check_output("sh -c %s", ARCHIVE)
    yield versions
    web2.check_output("sh -c %s", NO_ARCHIVE)
    for host in upgraded:
        host.check_output("sh -c %s", WITH_DEBIAN)


def boot(host: Host) -> str:
    return str(host.check_output("cat /proc/sys/kernel/random/boot_id"))


def master(host: Host) -> str:
    return str(host.check_output(f"systemctl show --property=MainPID --value {APPLICATION}"))


def test_a_web_host_and_a_cache_reboot_and_nobody_is_turned_away(
    cluster: Cluster, hosts: dict[str, Host], comers: Visitors
) -> None:
    names = ["web1", "cache1"]
    before = {name: boot(hosts[name]) for name in names}
    with comers.meanwhile("cached"):
        done = run(UPGRADE, cluster.inventory, "--limit", "web1,cache", base_reboot="always").succeeded()
    comers.visits[-1].assert_nobody_was_turned_away()
    assert not [name for name in names if boot(hosts[name]) == before[name]]
    assert re.findall(r"^included: base for (\w+)", done.output, re.MULTILINE) == names


def test_packages_are_upgraded_and_what_ran_of_them_starts_anew(
    cluster: Cluster, hosts: dict[str, Host], comers: Visitors, probes: Callable[[], dict[str, str]]
) -> None:
    """Without a reboot where it is the site's own services alone; held packages stay."""
    boots, running = boot(hosts["web2"]), {name: master(hosts[name]) for name in ("web1", "web2")}
    assert probes() == {"probe-free": "1", "probe-held": "1"}
    hosts["web2"].check_output("sh -c %s", REPLACE % running["web2"])
    with comers.meanwhile("cached"):
        run(UPGRADE, cluster.inventory, "--limit", "web,edge").succeeded()
    comers.visits[-1].assert_nobody_was_turned_away()
    assert probes() == {"probe-free": "2", "probe-held": "1"}
    assert boot(hosts["web2"]) == boots
    assert master(hosts["web1"]) == running["web1"]
    assert master(hosts["web2"]) != running["web2"]


def test_cached_pages_go_on_while_the_database_reboots(
    cluster: Cluster, hosts: dict[str, Host], comers: Visitors
) -> None:
    before = boot(hosts["db1"])
    with comers.meanwhile("cached"):
        done = run(UPGRADE, cluster.inventory, "--limit", "db", base_reboot="always").succeeded()
    assert "While db1 restarts, cached pages go on, and all others fail." in done.words
    assert boot(hosts["db1"]) != before
    met = summary(comers.visits[-1].recorded)
    assert met["home"]["requests"] > 0
    assert {name: met[name]["failed"] for name in ("home", "hot profile")} == {"home": 0, "hot profile": 0}


def test_a_web_host_that_does_not_come_back_stays_drained(cluster: Cluster, hosts: dict[str, Host]) -> None:
    """It does here, but later than it may."""
    before = boot(hosts["web1"])
    done = run(UPGRADE, cluster.inventory, "--limit", "web", base_reboot="always", base_reboot_timeout=1).failed()
    assert "web1 is not back after its upgrade" in done.words
    assert "put it back with playbooks/undrain.yml -e host=web1" in done.words
    pool = hosts["edge1"].file("/etc/nginx/upstream.conf")
    assert " down; # web1 drained" in pool.content_string
    assert "web2" not in [name for name, changed in done.changed.items() if changed]
    eventually(lambda: hosts["web1"].run("true").rc == 0 and boot(hosts["web1"]) != before)
    alone = run("playbooks/restart.yml", cluster.inventory).succeeded()
    assert "Nobody else is in the pool: what is asked of web2 while it starts anew fails" in alone.words
    run("playbooks/undrain.yml", cluster.inventory, host="web1").succeeded()
    assert " down" not in hosts["edge1"].file("/etc/nginx/upstream.conf").content_string
