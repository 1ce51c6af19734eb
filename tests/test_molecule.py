"""Every scenario of molecule/ passes, as `molecule test -s NAME` runs it by hand."""

from __future__ import annotations

import re

import pytest
from conftest import LOGS, PROJECT, Scenarios

# The longest first.
SCENARIOS = ("ha", "default", "single", "projects", "rungs")
# Once in a while, by hand: docs/contributing.md.
BY_HAND = ("growth", "s3", "upgrade")
TAIL = 150
# Pytest's words about what failed, and those of Ansible.
WRONG = re.compile(r"^(FAILED|ERROR|E  |fatal: |failed: |_{3,} .* _{3,}$)")
COLOURS = re.compile(r"\x1b\[[0-9;]*m")


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_scenario(scenario: str, scenarios: Scenarios) -> None:
    status = scenarios.finished(scenario)
    log = LOGS / f"{scenario}.log"
    lines = COLOURS.sub("", log.read_text(errors="replace")).splitlines()
    wrong = [line for line in lines if WRONG.match(line)]
    assert status == 0, "\n".join([f"{log}:", *lines[-TAIL:], "What failed:", *wrong[-TAIL:]])


def test_no_scenario_is_forgotten() -> None:
    assert {path.parent.name for path in (PROJECT / "molecule").glob("*/molecule.yml")} == {*SCENARIOS, *BY_HAND}
