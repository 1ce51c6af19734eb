"""What the edge promises, by varnishtest on the VCL that is deployed, with the Varnish of the host's release."""

from __future__ import annotations

from collections.abc import Callable

testinfra_hosts = ["edge"]


def test_every_behaviour_holds_on_the_deployed_vcl(run_suite: Callable[..., None]) -> None:
    run_suite("/etc/varnish/edge.vcl")
