"""A short selection of the drills: what visitors notice, and what becomes of what was written."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from loadtest.drills.catalogue import DRILLS
from loadtest.drills.run import in_short, prepared, run, site_of
from loadtest.target import Target
from loadtest.target import load as read_target

from support.cluster import PROJECT, Cluster
from support.traffic import LOAD, PLAN, PROFILES


def entered(target: Target) -> Target:
    """A target whose hosts are entered as the scenarios' are, whose inventories don't say how."""
    known = f"-F {PROJECT / '.lab' / 'ssh_config'}"
    logins = {name: replace(login, arguments=f"{known} {login.arguments}") for name, login in target.logins.items()}
    return replace(target, logins=logins)


@pytest.fixture(scope="module")
def drilled(cluster: Cluster) -> Iterator[Callable[[str], dict[str, Any]]]:
    """Carry out a drill of a name, and return what was seen."""
    site = site_of(entered(read_target(cluster.inventory)))
    with prepared(site, PLAN, PROFILES):
        yield lambda name: run(site, DRILLS[name], PLAN, LOAD.rate)


@pytest.mark.parametrize("name", ["off-db-leader", "cut-db-leader"])
def test_a_lost_leader_takes_nothing_with_it(drilled: Callable[[str], dict[str, Any]], name: str) -> None:
    """How long it takes is the business of `make drills`: here other work may keep the machine busy."""
    found = drilled(name)
    print(f"{name}: {in_short(found)}; {found['marks']}")
    assert found["acknowledged"] > 0
    assert (found["lost"], found["integrity"], found["missing"]) == (0, [], [])
    assert found["services"]["cached"]["failed"] == 0
