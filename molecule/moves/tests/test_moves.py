"""The cluster moves while visitors come and go: not one request fails."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from pathlib import Path

import pytest
from loadtest import load
from loadtest.ladder import load_data
from loadtest.load import Load, Plan
from loadtest.results import failures, summary
from loadtest.target import Target
from loadtest.target import load as read_target

from support.cluster import Cluster, variant
from support.lab import lab
from support.playbook import run

PROFILES = 200
USERS = 6
PASSWORD = secrets.token_urlsafe(24)
PLAN = Plan(arguments=("--profiles", str(PROFILES), "--mix", "spoken"), password=PASSWORD)


@pytest.fixture(scope="module")
def balanced(cluster: Cluster) -> Target:
    """The cluster at the balanced rung, with people in its directory and accounts for visitors."""
    run("playbooks/balanced.yml", cluster.inventory).succeeded()
    target = read_target(cluster.inventory)
    load_data(target, PLAN, profiles=PROFILES)
    return target


@pytest.fixture
def nobody_is_turned_away(balanced: Target) -> Callable[[Callable[[], None]], None]:
    """Do something under load; every request is answered with what it must contain, of every class, the whole time."""

    def check(move: Callable[[], None]) -> None:
        with load.traffic(balanced, "balanced", PLAN, Load(USERS)) as visitors:
            move()
        assert failures(visitors.recorded) == ""
        answered = {name: entry["requests"] for name, entry in summary(visitors.recorded).items()}
        print(f"{sum(answered.values())} requests, none failed: {answered}")
        assert set(answered) >= {"home", "hot profile", "profile", "login", "create", "home as member"}
        assert min(answered.values()) > 0
        silent = set(range(int(visitors.recorded["seconds"]))) - _busy(visitors.recorded)
        assert silent == set(), "seconds in which nobody was answered"

    return check


def _busy(recorded: dict[str, dict[str, dict[str, dict[str, list[int]]]]]) -> set[int]:
    """The seconds of a run in which requests were answered."""
    return {int(second) for entry in recorded["classes"].values() for second in entry["seconds"]}


def test_the_cache_comes_in_between(
    cluster: Cluster, nobody_is_turned_away: Callable[[Callable[[], None]], None]
) -> None:
    nobody_is_turned_away(lambda: _converge("cached", cluster.inventory))


def test_a_web_host_more(
    cluster: Cluster, tmp_path: Path, nobody_is_turned_away: Callable[[Callable[[], None]], None]
) -> None:
    web2 = "        web2: {ansible_host: 10.44.3.32, lab_release: bookworm}\n"
    inventory = variant(cluster, tmp_path, web2, "        web3: {ansible_host: 10.44.3.33}\n")
    lab(inventory, "up")
    nobody_is_turned_away(lambda: _converge("cached", inventory))


def test_the_cache_goes_again_and_the_third_host_with_it(
    cluster: Cluster, nobody_is_turned_away: Callable[[Callable[[], None]], None]
) -> None:
    nobody_is_turned_away(lambda: _converge("balanced", cluster.inventory))


def _converge(rung: str, inventory: Path) -> None:
    run(f"playbooks/{rung}.yml", inventory).succeeded()
