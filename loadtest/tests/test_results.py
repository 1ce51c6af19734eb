"""What is made of a run's numbers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from loadtest import report
from loadtest.hits import probed
from loadtest.ladder import RUNGS, Settings, steps_of
from loadtest.recorder import Recorder, outcome, rounded
from loadtest.results import described, merged, percentile, summary


def test_a_percentile_is_the_time_that_so_many_requests_do_not_exceed() -> None:
    times = [(1.0, 98), (5.0, 1), (700.0, 1)]
    assert [percentile(times, share) for share in (0, 0.5, 0.98, 0.99, 0.995, 1)] == [1.0, 1.0, 1.0, 5.0, 700.0, 700.0]
    assert percentile([], 0.5) is None


def test_times_of_several_runs_add_up_in_order() -> None:
    assert merged([{"10": 1, "9": 2}, {"9": 1, "100": 4}]) == [(9.0, 3), (10.0, 1), (100.0, 4)]


def test_the_mean_weighs_every_request_the_same() -> None:
    found = described([(1.0, 3), (5.0, 1)])
    assert (found["requests"], found["mean"]) == (4, 2.0)
    assert described([])["mean"] is None


def test_a_probe_counts_what_is_not_a_page_as_failed() -> None:
    log = "17000000000\t200\t900\n17000000001\t503\t100\n17000000002\t200\t12345\n"
    assert probed(log) == {"requests": 2, "failed": 1, "p50": 0.9, "p95": 12.35, "p99": 12.35}


@pytest.mark.parametrize(
    ("status", "meaning"),
    [
        ("edge1; hit; ttl=4", "hit"),
        ("edge1; hit; ttl=-7", "stale"),
        ("edge1; fwd=stale; ttl=-3", "stale"),
        ("edge1; fwd=uri-miss; stored; ttl=4", "miss"),
        ("edge1; fwd=bypass", "pass"),
        ("edge1; fwd=method", "pass"),
        ("", "none"),
    ],
)
def test_cache_status_is_understood(status: str, meaning: str) -> None:
    assert outcome({"Cache-Status": status} if status else {}) == meaning


def test_times_keep_three_digits() -> None:
    assert [rounded(time) for time in (0.83512, 2.0049, 34.56, 999.4, 1234.0)] == [
        "0.835",
        "2",
        "34.6",
        "999",
        "1230.0",
    ]


def test_nothing_counts_before_the_warm_up_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = Recorder()
    recorder.began = 1000.0
    for now, failure in ((999.9, None), (1000.1, None), (1001.5, "status 500"), (1001.6, None)):
        monkeypatch.setattr("loadtest.recorder.time.time", lambda now=now: now)
        recorder.add("home", 12.0, "hit", failure)
    found = recorder.as_dict()["classes"]["home"]
    assert found == {
        "failures": {"status 500": 1},
        "times": {"hit": {"12": 2}},
        "seconds": {"0": [1, 0], "1": [1, 1]},
    }


def test_the_counts_of_several_generators_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    whole, part = Recorder(), Recorder()
    monkeypatch.setattr("loadtest.recorder.time.time", lambda: 1000.5)
    for recorder in (whole, part):
        recorder.began = 1000.0
        recorder.add("home", 12.0, "hit", None)
        recorder.add("login", 80.0, "pass", "status 403")
    whole.merge(json.loads(json.dumps(part.as_dict())))
    found = summary(json.loads(json.dumps(whole.as_dict())))
    assert found["home"]["requests"] == 2
    assert found["login"]["failures"] == {"status 403": 2}
    assert (found["login"]["requests"], found["login"]["failed"]) == (0, 2)


def _run(step: str, repeat: int, rate: float, **more: object) -> dict[str, Any]:
    return {
        "step": step,
        "repeat": repeat,
        "requests_per_second": rate,
        "requests": int(rate * 40),
        "failed": 0,
        "histogram": {"hit": {"1.5": 80}, "miss": {"250": 20}},
        "hit_ratio": 0.8,
        "web_hosts": ["web1"],
        "hosts": {"web1": {"cpu_ms_per_request": 3.5}, "edge1": {"cpu_ms_per_request": 0.5}},
        "probe": {"p50": 0.4, "p99": 12.0},
        "generator": {"cpu_seconds": 10.0},
        **more,
    }


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """A file with three rounds of two steps, one of whose runs failed."""
    runs = [_run("runserver-1-50", n, rate) for n, rate in ((1, 20.0), (2, 40.0), (3, 30.0))]
    runs += [_run("cached-2-200", 1, 400.0), _run("cached-2-200", 2, 200.0)]
    runs += [{"step": "cached-2-200", "repeat": 3, "error": "the edge <did> not answer"}]
    finale = {
        "off": 20,
        "on": 50,
        "cached_failed": 0,
        "cached_requests": 20,
        "seconds": {"home": {"0": [10, 0], "60": [9, 1]}},
    }
    file = tmp_path / "ladder.json"
    machine = {"cpu": "a CPU", "cores": 2, "memory_gib": 4, "kernel": "6"}
    found = {
        "settings": vars(Settings("inventories/x")),
        "machine": machine,
        "groups": {"edge": ["edge1"], "web": ["web1"], "db": ["edge1"], "cache": ["edge1"]},
        "runs": runs,
        "ceiling": {"front": [60.0, 50.0, 70.0], "bare": [100.0], "ratio": 0.6},
        "finale": finale,
    }
    file.write_text(json.dumps(found))
    return file


def test_a_ladder_climbs_its_rungs_in_order_and_once_a_round() -> None:
    for rungs in (None, ["cached", "uwsgi"]):
        steps = steps_of("published", rungs)
        assert [rung for rung in RUNGS if rung in (rungs or RUNGS)] == list(dict.fromkeys(step.rung for step in steps))
        assert sorted(steps, key=lambda step: RUNGS.index(step.rung)) == steps
        assert len({step.name for step in steps}) == len(steps)


def test_only_a_ladder_of_the_published_mix_has_steps_of_the_other() -> None:
    assert {step.mix for step in steps_of("published")} == {"", "spoken"}
    assert {step.mix for step in steps_of("spoken")} == {""}
    assert {step.mix for step in steps_of("published", own_plan=True)} == {""}


def test_ratios_are_of_one_round_each(results: Path) -> None:
    [found] = [entry for entry in report.ratios(json.loads(results.read_text())) if "runserver" in entry["title"]]
    assert (found["low"], found["median"], found["high"], found["rounds"]) == (5.0, 12.5, 20.0, 2)


def test_a_row_has_medians_and_the_spread(results: Path) -> None:
    first, last = report.rows(json.loads(results.read_text()))
    assert (first.rate, first.low, first.high, first.mean, first.p50, first.p95) == (30.0, 20.0, 40.0, 51.2, 1.5, 250.0)
    assert (first.web_ms, first.generator, first.talk) == (3.5, 1 / 3, (28.2, 1353))
    assert (last.runs, last.errors) == (2, ["the edge <did> not answer"])


def test_the_page_stands_alone_and_shows_what_failed(results: Path) -> None:
    page = report.write(results).read_text()
    assert "1 runs" in page
    assert page.count("<svg") == 4
    assert "<script" not in page
    assert "src=" not in page
    assert "{{" not in page
    assert "answers 60" in page


def test_the_documentations_tables_have_a_line_for_each_step_and_ratio(results: Path) -> None:
    rungs, ratios, costs = (table.splitlines() for table in report.markdown(results).split("\n\n"))
    assert rungs[2] == "| runserver | published | 1 | 50 | 30 | 28 | 51 ms | 250 ms | 0 of 3,600 |"
    assert ratios[2:] == ["| cached / runserver | 12.50 | 5.00 to 20.00 | 16.20 |"]
    assert costs[3] == "| cached, 2 web hosts, 200 users | 0.50 | 3.50 | 0.50 | 0.50 | 0.800 | 0.40 | 12.0 |"
    assert len(rungs) == len(costs) == 4
