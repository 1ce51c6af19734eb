"""A short selection of the drills: what visitors notice, and what becomes of what was written."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from loadtest.drills.catalogue import DRILLS
from loadtest.drills.run import in_short, prepared, run, site_of
from loadtest.target import load as read_target

from support.cluster import Cluster
from support.traffic import LOAD, PLAN, PROFILES


@pytest.fixture(scope="module")
def drilled(cluster: Cluster) -> Iterator[Callable[[str], dict[str, Any]]]:
    """Carry out a drill of a name, and return what was seen."""
    site = site_of(read_target(cluster.inventory))
    with prepared(site, PLAN, PROFILES):
        yield lambda name: run(site, DRILLS[name], PLAN, LOAD.rate)


@pytest.mark.parametrize("name", ["off-db-leader", "off-edge", "stop-all-web"])
def test_a_drill_is_passed(drilled: Callable[[str], dict[str, Any]], name: str) -> None:
    found = drilled(name)
    print(f"{name}: {in_short(found)}; {found['marks']}")
    assert found["faults"] == []
    assert found["acknowledged"] > 0
