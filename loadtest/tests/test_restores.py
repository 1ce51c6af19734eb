"""Restores by size: whose directory is emptied for them, and how they come together."""

from __future__ import annotations

from pathlib import Path

import pytest

from loadtest.restores import measure, table
from loadtest.target import LoadError, Target


@pytest.mark.parametrize("address", ["192.0.2.1", "10.0.5.11"])
def test_a_directory_that_is_not_a_labs_is_not_emptied(tmp_path: Path, address: str) -> None:
    """Even if the lab could have such a host."""
    (tmp_path / "hosts.yml").write_text(f"all: {{hosts: {{one: {{ansible_host: {address}, ansible_user: debian}}}}}}")
    with pytest.raises(LoadError, match="only a lab's may be"):
        measure(
            Target(tmp_path, "people.test", "people", {}, {}, {}, {}),
            sizes=[1],
            repeats=1,
            file=tmp_path / "restores.json",
        )
    assert not (tmp_path / "restores.json").exists()


def test_a_size_is_told_with_the_median_of_its_restores_and_their_spread() -> None:
    one = {
        "profiles": 500_000,
        "database_bytes": 1_300_000_000,
        "backup_bytes": 561_000_000,
        "backup_seconds": 20.4,
        "restore_seconds": [31.0, 26.5, 27.0],
    }
    assert table({"sizes": [one]}).splitlines()[-1] == (
        "| 500,000 | 1.3 GB | 561 MB | 20 s | 27.0 s (26.5 to 31.0, 3 times) |"
    )
