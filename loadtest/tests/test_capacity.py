"""The capacity calculator, by hand and against what was measured."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from loadtest import capacity
from loadtest.__main__ import main
from loadtest.capacity import Costs, Demand
from loadtest.target import PROJECT, LoadError

COSTS = Costs(edge=0.5, web=20.0, db=5.0, cache=0.1)


def test_a_days_pages_are_cores_at_the_peak() -> None:
    """8.64 million a day are 100 a second, 400 at the peak; a quarter of them reach the web hosts."""
    demand = Demand(8_640_000, hit_ratio=0.75, peak=4)
    assert demand.requests_a_second == pytest.approx(400)
    assert COSTS.demand(demand) == pytest.approx({"edge": 0.2, "web": 2.0, "db": 0.5, "cache": 0.01})


@pytest.mark.parametrize(("utilisation", "web"), [(1.0, 1), (0.5, 2), (0.49, 3)])
def test_hosts_are_whole_and_not_all_their_time_is_given_away(utilisation: float, web: int) -> None:
    hosts = COSTS.hosts(Demand(8_640_000, hit_ratio=0.75, peak=4), cores=2, utilisation=utilisation)
    assert hosts == {"edge": 1, "web": web, "db": 1, "cache": 1}


def _results(tmp_path: Path, runs: list[dict[str, object]]) -> Path:
    file = tmp_path / "ladder.json"
    groups = {"db": ["a"], "cache": ["a"], "web": ["b", "c"], "edge": ["d"]}
    file.write_text(json.dumps({"groups": groups, "runs": runs}))
    return file


def test_costs_are_medians_of_what_was_measured(tmp_path: Path) -> None:
    runs: list[dict[str, object]] = [
        {
            "step": "cached-2-200",
            "requests": 1000,
            "hit_ratio": 0.6,
            "hosts": {
                name: {"cpu_seconds": seconds * factor} for name, seconds in zip("abcd", (2, 4, 4, 1), strict=True)
            },
        }
        for factor in (1, 2, 9)
    ]
    file = _results(tmp_path, [*runs, {"step": "cached-2-200", "error": "the edge did not answer"}])
    assert capacity.measured(file) == Costs(edge=2.0, web=40.0, db=10.0, cache=10.0)
    assert capacity.known_hit_ratio(file) == 0.6


def test_the_calculator_is_held_against_what_more_and_fewer_web_hosts_did(tmp_path: Path) -> None:
    """Half of 200 requests are misses and took 4 s of 2 hosts: 40 ms a miss, 25 requests/s for half a core."""
    runs = [
        {
            "step": f"cached-{hosts}-200",
            "requests": 200,
            "requests_per_second": rate,
            "hit_ratio": 0.5,
            "hosts": {name: {"cpu_seconds": 2.0} for name in "abcd"},
        }
        for hosts, rate in ((1, 24.0), (2, 51.0), (3, 70.0))
    ]
    file = _results(tmp_path, runs)
    whole = json.loads(file.read_text())
    file.write_text(json.dumps(whole | {"settings": {"caps": {"b": 0.5, "c": 0.5}}}))
    rows = capacity.checked(file)
    assert [row["predicted"] for row in rows] == pytest.approx([25.0, 50.0, 75.0])
    assert [row["measured"] for row in rows] == [24.0, 51.0, 70.0]
    file.write_text(json.dumps(whole | {"settings": {"caps": {}}}))
    with pytest.raises(LoadError, match="without lab_cpus"):
        capacity.checked(file)


def test_results_without_a_cached_run_are_told(tmp_path: Path) -> None:
    with pytest.raises(LoadError, match="has no run of cached-2-200"):
        capacity.measured(_results(tmp_path, []))


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["many"], "'many' is not a number above 0"),
        (["1e6", "--hit-ratio", "1.2"], "'1.2' is not a share"),
        (["1e6", "--cores", "0"], "'0' is not a number above 0"),
        (["1e6", "--utilisation", "0"], "'0' is not a number above 0"),
        (["1e6", "--utilisation", "1.5"], "'1.5' is more than the whole"),
        (["1e6", "--results", "nowhere.json"], "There is no file nowhere.json"),
    ],
)
def test_bad_input_is_told(arguments: list[str], told: str) -> None:
    command = [sys.executable, "-m", "loadtest", "capacity", *arguments]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True)
    assert done.returncode != 0
    assert told in done.stderr


@pytest.mark.parametrize("command", [["capacity", "1e6", "--results"], ["capacity-check"], ["render"]], ids=" ".join)
@pytest.mark.parametrize("text", ["", '{"runs":', "[]", "{}", '{"runs": []}'])
def test_a_file_of_something_else_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: list[str], text: str
) -> None:
    file = tmp_path / "other.json"
    file.write_text(text)
    assert main([*command, str(file)]) == 1
    assert "does not hold a ladder's results" in capsys.readouterr().err
