"""The linters, each with the project's own configuration."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[1]
PLAYBOOKS = ["site.yml", *sorted(f"playbooks/{path.name}" for path in (PROJECT / "playbooks").glob("*.yml"))]


def check(*command: str) -> None:
    done = subprocess.run(
        command, cwd=PROJECT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert done.returncode == 0, done.stdout[-8000:]


def test_yamllint() -> None:
    check("yamllint", "--strict", ".")


def test_ansible_lint() -> None:
    check("ansible-lint", "--offline", "--profile", "production", "--strict")


def test_ruff_finds_nothing() -> None:
    check("ruff", "check", ".")


def test_ruff_would_format_nothing() -> None:
    check("ruff", "format", "--check", ".")


def test_the_labs_types_hold() -> None:
    check("mypy", "--strict", "lab")


@pytest.mark.parametrize("playbook", PLAYBOOKS)
def test_a_playbooks_syntax(playbook: str) -> None:
    check("ansible-playbook", "--syntax-check", playbook)


@pytest.mark.parametrize("script", ["tests/run", ".ci/run"])
def test_a_scripts_syntax(script: str) -> None:
    check("bash", "-n", script)
    assert (PROJECT / script).stat().st_mode & 0o111 == 0o111
