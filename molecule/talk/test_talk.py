"""The negative control of the suite for the edge: it fails where the talk's own VCL is known to."""

from __future__ import annotations

from collections.abc import Callable

testinfra_hosts = ["edge"]


def test_the_talks_own_vcl_fails_what_the_documentation_says(run_suite: Callable[..., None]) -> None:
    run_suite("talk.vcl", "--fails", "talk.fails")
