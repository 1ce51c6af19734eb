"""The cluster moves while visitors come and go: not one request fails."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from loadtest import load
from loadtest.ladder import load_data
from loadtest.load import Load, Plan
from loadtest.results import failures, summary
from loadtest.target import Target
from loadtest.target import load as read_target

from support.cluster import Cluster, variant
from support.lab import lab
from support.playbook import run, run_watched

PROFILES = 200
# Visits a second: enough that somebody is always on his way, and little beside the move's own work.
VISITORS = Load(rate=4)
PLAN = Plan(arguments=("--profiles", str(PROFILES), "--mix", "spoken"), password=secrets.token_urlsafe(24))
CLASSES = {"home", "hot profile", "profile", "login page", "login", "create", "home as member"}


@pytest.fixture(scope="module")
def target(cluster: Cluster) -> Target:
    """The cluster at its first rung, with people in its directory and accounts for visitors."""
    run("playbooks/runserver.yml", cluster.inventory).succeeded()
    found = read_target(cluster.inventory)
    load_data(found, PLAN, profiles=PROFILES)
    return found


@contextmanager
def nobody_is_turned_away(target: Target, rung: str) -> Iterator[None]:
    """While the block runs, every request of every class is answered with what it must contain."""
    with load.traffic(target, rung, PLAN, VISITORS) as visitors:
        yield
    assert failures(visitors.recorded) == ""
    answered = {name: entry["requests"] for name, entry in summary(visitors.recorded).items()}
    print(f"{rung}: {sum(answered.values())} requests, none failed: {answered}")
    assert set(answered) == CLASSES
    assert 0 not in answered.values()


def test_from_runserver_to_uwsgi_the_gap_is_told(target: Target, capsys: pytest.CaptureFixture[str]) -> None:
    """They share a port, so there is one; afterwards all is answered."""
    with load.traffic(target, "runserver", PLAN, VISITORS) as visitors:
        _converge("uwsgi", target.inventory)
    failed, answered = _seconds(visitors.recorded, failed=True), _seconds(visitors.recorded, failed=False)
    with capsys.disabled():
        print(f"\nrunserver to uwsgi: requests failed in {len(failed)} of {max(answered)} seconds")
    assert max(answered) > max(failed, default=0)


def test_from_uwsgi_to_balanced_both_addresses_answer(target: Target) -> None:
    """The old one until the new one does."""
    _visitors_move(target, "uwsgi", "balanced", "PLAY [What other rungs ran on the web hosts is gone]")


def test_the_cache_comes_in_between(target: Target) -> None:
    with nobody_is_turned_away(target, "balanced"):
        _converge("cached", target.inventory)


@pytest.fixture(scope="module")
def grown(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The inventory with one line more; the new host is up, and bare."""
    web2 = "        web2: {ansible_host: 10.44.3.32, lab_release: bookworm}\n"
    inventory = variant(cluster, tmp_path_factory.mktemp("grown"), web2, "        web3: {ansible_host: 10.44.3.33}\n")
    lab(inventory, "up")
    return inventory


def test_a_web_host_more(target: Target, grown: Path) -> None:
    with nobody_is_turned_away(target, "cached"):
        _converge("cached", grown)


def test_the_cache_and_the_third_host_go_again(target: Target, grown: Path) -> None:
    """The host is drained before its line goes: without it nobody else lets the host in."""
    with nobody_is_turned_away(target, "cached"):
        run("playbooks/pool.yml", grown, drained=["web3"]).succeeded()
        _converge("balanced", target.inventory)


def test_back_to_uwsgi_both_addresses_answer(target: Target) -> None:
    """uWSGI speaks HTTP again before nginx leaves."""
    _visitors_move(target, "balanced", "uwsgi", "PLAY [The edge hosts serve, one at a time]")


def _visitors_move(target: Target, old: str, new: str, banner: str) -> None:
    """Move to another rung; visitors go to its address when the run prints `banner`."""
    with ExitStack() as before, ExitStack() as after:
        before.enter_context(nobody_is_turned_away(target, old))

        def move() -> None:
            before.close()
            after.enter_context(nobody_is_turned_away(target, new))

        run_watched(f"playbooks/{new}.yml", target.inventory, {banner: move}).succeeded()


def _converge(rung: str, inventory: Path) -> None:
    run(f"playbooks/{rung}.yml", inventory).succeeded()


def _seconds(recorded: dict[str, Any], failed: bool) -> set[int]:
    """The seconds in which requests failed, or were answered."""
    found = (entry["seconds"].items() for entry in recorded["classes"].values())
    return {int(second) for counts in found for second, count in counts if count[failed]}
