"""memcached as it runs, asked over its own protocol."""

from __future__ import annotations

from testinfra.host import Host

from support.cluster import Cluster

testinfra_hosts = ["cache"]


def settings(host: Host, address: str) -> dict[str, str]:
    conversation = f"exec 3<>/dev/tcp/{address}/11211; printf 'stats settings\\r\\nquit\\r\\n' >&3; cat <&3"
    lines = host.check_output("bash -c %s", conversation).split("\r\n")
    return dict(line.split(" ", 2)[1:] for line in lines if line.startswith("STAT ") and line.count(" ") == 2)


def test_it_listens_on_the_private_address_and_not_on_udp(host: Host, cluster: Cluster) -> None:
    address = cluster.addresses[host.backend.host]
    found = settings(host, address)
    assert found["udpport"] == "0"
    assert found["inter"] == address
    assert found["tcpport"] == "11211"


def test_its_sizes_are_in_force(host: Host, cluster: Cluster) -> None:
    found = settings(host, cluster.addresses[host.backend.host])
    assert int(found["maxbytes"]) == max(1024 // cluster.shares(host.backend.host) // 4, 64) * 1024 * 1024
    assert int(found["maxconns"]) == 4096


def test_it_does_not_run_as_root(host: Host) -> None:
    assert host.check_output("ps -o user= -p $(systemctl show --property=MainPID --value memcached)") == "memcache"
