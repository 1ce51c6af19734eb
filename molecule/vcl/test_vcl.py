"""What the edge promises, by varnishtest on the VCL that is deployed, with the Varnish of the host's release."""

from __future__ import annotations

import subprocess

import pytest
from testinfra.host import Host

from support.cluster import PROJECT, Cluster

testinfra_hosts = ["edge"]

SUITE = PROJECT / "roles" / "varnish_edge" / "tests"
LIMIT = 600  # seconds


@pytest.fixture(scope="module")
def suite(host: Host, cluster: Cluster) -> str:
    """Where the tests lie on the edge host, new there."""
    directory: str = host.check_output("mktemp -d")
    host.check_output(f"chown debian {directory}")
    target = f"debian@{cluster.addresses[host.backend.host]}:{directory}"
    scp = ["scp", "-q", "-r", "-F", str(PROJECT / ".lab" / "ssh_config"), str(SUITE), target]
    subprocess.run(scp, check=True, timeout=LIMIT)
    return f"{directory}/{SUITE.name}"


def test_every_behaviour_holds_on_the_deployed_vcl(host: Host, suite: str) -> None:
    run = host.run(f"cd {suite} && timeout {LIMIT} python3 run_vtc.py /etc/varnish/edge.vcl")
    assert run.rc == 0, run.stdout + run.stderr


def test_the_talks_own_vcl_fails_what_the_documentation_says(host: Host, suite: str) -> None:
    run = host.run(f"cd {suite} && timeout {LIMIT} python3 run_vtc.py talk.vcl --fails talk.fails")
    assert run.rc == 0, run.stdout + run.stderr
