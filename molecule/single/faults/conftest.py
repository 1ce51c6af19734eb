"""What every fault is measured against: the site as it was before."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from loadtest.releases import copy_application
from testinfra.host import Host

from support.cluster import Cluster
from support.files import digests
from support.site import Site
from support.web import Browser


@pytest.fixture(scope="session")
def site(hosts: dict[str, Host], cluster: Cluster, new_visitor: Callable[[], Browser], profiles: int) -> Site:
    (host,) = hosts.values()
    return Site(host, cluster)


@pytest.fixture
def unharmed(site: Site) -> Iterator[None]:
    """The fault changes no managed file, restarts nothing, and the site goes on answering."""
    files, service = digests(site.host), site.service()
    yield
    assert site.answers()
    assert site.service() == service
    assert digests(site.host) == files


@pytest.fixture
def unswitched(site: Site) -> Iterator[None]:
    """The running release keeps serving, whatever has been put beside it."""
    service = site.service()
    yield
    assert site.answers()
    assert site.service() == service


@pytest.fixture
def application(tmp_path: Path) -> Path:
    """A copy of the example application to be broken."""
    return copy_application(tmp_path)
