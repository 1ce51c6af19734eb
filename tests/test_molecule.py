"""Every scenario of molecule/ passes, as `molecule test -s NAME` runs it by hand."""

from __future__ import annotations

import pytest
from conftest import LOGS, PROJECT, Scenarios

# The longest first.
SCENARIOS = ("single", "default", "rungs", "projects")
TAIL = 250


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_scenario(scenario: str, scenarios: Scenarios) -> None:
    status = scenarios.finished(scenario)
    log = LOGS / f"{scenario}.log"
    assert status == 0, f"{log}:\n" + "\n".join(log.read_text(errors="replace").splitlines()[-TAIL:])


def test_no_scenario_is_forgotten() -> None:
    assert {path.parent.name for path in (PROJECT / "molecule").glob("*/molecule.yml")} == set(SCENARIOS)
