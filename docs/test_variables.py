"""docs/variables.md says what the roles say."""

from __future__ import annotations

from pathlib import Path

import generate_variables
import pytest
import yaml


@pytest.fixture
def roles(tmp_path: Path) -> Path:
    """A directory with two roles."""
    specs = {
        "cache": {
            "cache_size_mb": {"type": "int", "description": "Memory for items, in MB."},
            "cache_mode": {"type": "str", "description": ["How to store.", "One word."], "choices": ["lru", "fifo"]},
            "cache_users": {
                "type": "list",
                "elements": "dict",
                "description": "Who may use it.",
                "options": {"name": {"type": "str", "description": "Name.", "required": True}},
            },
        },
        "site": {"site_domain": {"type": "str", "description": "The name visitors type."}},
    }
    defaults = {
        "cache": {"cache_size_mb": "{{ [memory // 4, 64] | max }}", "cache_mode": "lru", "cache_users": []},
        "site": {"site_domain": ""},
    }
    for role, options in specs.items():
        (tmp_path / "roles" / role / "meta").mkdir(parents=True)
        (tmp_path / "roles" / role / "defaults").mkdir()
        entry = {"argument_specs": {"main": {"short_description": f"The {role}", "options": options}}}
        (tmp_path / "roles" / role / "meta/argument_specs.yml").write_text(yaml.safe_dump(entry, sort_keys=False))
        (tmp_path / "roles" / role / "defaults/main.yml").write_text(yaml.safe_dump(defaults[role]))
    return tmp_path / "roles"


def run(roles: Path, *arguments: str) -> int:
    return generate_variables.main(["--roles", str(roles), "--page", str(roles.parent / "variables.md"), *arguments])


def test_the_page_in_the_repository_is_current() -> None:
    assert generate_variables.main(["--check"]) == 0, "run docs/generate_variables.py"


def test_every_variable_has_a_row_with_type_default_and_description(roles: Path) -> None:
    rows = generate_variables.page(roles).splitlines()
    assert r"| `cache_size_mb` | int | `{{ [memory // 4, 64] \| max }}` | Memory for items, in MB. |" in rows
    assert "| `cache_mode` | str | `lru` | How to store. One word. One of `lru`, `fifo`. |" in rows
    assert "| `cache_users` | list of dict | `[]` | Who may use it. `name` (str, required): Name. |" in rows
    assert '| `site_domain` | str | `""` | The name visitors type. |' in rows


def test_what_a_site_sets_comes_first(roles: Path) -> None:
    headings = [line for line in generate_variables.page(roles).splitlines() if line.startswith("## ")]
    assert headings == ["## site", "## cache"]


def test_a_missing_or_stale_page_fails_the_check_and_is_left_alone(
    roles: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = roles.parent / "variables.md"
    assert run(roles, "--check") == 1
    assert not file.exists()
    assert run(roles) == 0
    assert run(roles, "--check") == 0
    file.write_text(file.read_text() + "edited\n")
    assert run(roles, "--check") == 1
    assert file.read_text().endswith("edited\n")
    assert f"{file} is stale" in capsys.readouterr().err
