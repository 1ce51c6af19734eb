"""The README and the pages of docs/ show what ladder.json, drills.json and restores.json have there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from loadtest import report, restores
from loadtest.drills import figures

PROJECT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def tables() -> list[str]:
    """As `python -m loadtest render docs/ladder.json --markdown` prints them."""
    return report.markdown(PROJECT / "docs" / "ladder.json").split("\n\n")


def test_the_readme_has_the_rungs(tables: list[str]) -> None:
    assert tables[0] in (PROJECT / "README.md").read_text()


def test_the_performance_page_has_ratios_and_costs(tables: list[str]) -> None:
    page = (PROJECT / "docs" / "performance.md").read_text()
    assert tables[1] in page
    head, *rows = tables[2].splitlines()
    shown = page[page.index(head) :].split("\n\n")[0].splitlines()
    assert len(shown) > 4
    assert set(shown) <= {head, *rows}


def test_the_reliability_page_has_the_drills() -> None:
    """As `python -m loadtest drills --summary --reports docs` prints them."""
    results = json.loads((PROJECT / "docs" / "drills.json").read_text())
    assert figures.markdown(results) in (PROJECT / "docs" / "reliability.md").read_text()


def test_the_page_of_backups_has_the_restores() -> None:
    """As `python -m loadtest restores` prints them in the end."""
    results = json.loads((PROJECT / "docs" / "restores.json").read_text())
    assert restores.table(results) in (PROJECT / "docs" / "backup-and-restore.md").read_text()
