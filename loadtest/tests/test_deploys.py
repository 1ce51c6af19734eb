"""Rounds of deploys, and how they come together."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from loadtest.deploys import _rounds_before, table
from loadtest.target import LoadError

SAME = {"web_hosts": 2, "caps": {"web1": 0.5}, "visits_per_second": 4.0, "everything": False}


def round_of(seconds: float, failed: int) -> dict[str, Any]:
    times = {"requests": 100, "p50": 2.0, "p99": 100.0, "failed": failed, "failures": "", "memory_mb": 200}
    return {
        "no release": times | {"seconds": 20.0, "failed": 0, "p99": 50.0},
        "rollback": times | {"seconds": seconds},
    }


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "deploys.json"
    path.write_text(json.dumps(SAME | {"rounds": [round_of(10, 0), round_of(30, 2)]}))
    return path


def test_rounds_of_the_same_cluster_go_on(file: Path, tmp_path: Path) -> None:
    assert len(_rounds_before(file, SAME)) == 2
    assert _rounds_before(tmp_path / "none.json", SAME) == []


def test_those_of_another_one_are_not_mixed_in(file: Path) -> None:
    with pytest.raises(LoadError, match="write --fresh"):
        _rounds_before(file, SAME | {"web_hosts": 4})


def test_failed_requests_are_all_that_there_were(file: Path) -> None:
    line = table(json.loads(file.read_text())).splitlines()[-1]
    assert line == "| rollback | 20.0 (10.0 to 30.0) | 2 of 200 | 2 ms | 100 ms | 2.00 | 200 MB |"
