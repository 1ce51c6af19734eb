#!/usr/bin/env python3
"""Write docs/variables.md from the roles' argument specifications and defaults; --check says whether it is current."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "variables.md"
HEAD = """\
<!-- Made by docs/generate_variables.py from the roles; do not edit. -->
# Variables

Write what you change into `group_vars/all/main.yml` of your inventory, or below `host_vars/` for one host. The first
two tables are what a site usually sets; the others tune one service. Sizes follow the host's memory and cores.
"""
# The roles that a user's own file is about come first.
FIRST = ("site", "app")


def table_cell(text: str) -> str:
    """Return text for a cell of a Markdown table, where a line break or a bar would end it."""
    return " ".join(text.split()).replace("|", r"\|")


def code(text: str) -> str:
    return f"`{table_cell(text)}`"


def default_cell(value: object) -> str:
    """Return a default as it would be written in YAML: one line of code, or a line for each entry of a mapping."""
    if isinstance(value, str) and value:
        return code(value)
    if isinstance(value, dict) and value:
        return "<br>".join(code(f"{name}: {entry}") for name, entry in value.items())
    if isinstance(value, list) and value and all(isinstance(entry, str) for entry in value):
        return code(f"[{', '.join(value)}]")
    return code(json.dumps(value))


def type_cell(option: dict[str, Any]) -> str:
    kind = str(option.get("type", "str"))
    return f"{kind} of {option['elements']}" if "elements" in option else kind


def description_cell(option: dict[str, Any]) -> str:
    """Return the description, the choices, and the keys that an entry of a list of mappings has."""
    description = option["description"]
    sentences = [description] if isinstance(description, str) else list(description)
    if "choices" in option:
        sentences.append("One of " + ", ".join(code(str(choice)) for choice in option["choices"]) + ".")
    for name, part in option.get("options", {}).items():
        needed = ", required" if part.get("required") else ""
        sentences.append(f"{code(name)} ({type_cell(part)}{needed}): {part['description']}")
    return table_cell(" ".join(sentences))


def role_section(directory: Path) -> Iterator[str]:
    """Yield the lines of one role's heading and table; none for a role without variables."""
    entries = yaml.safe_load((directory / "meta" / "argument_specs.yml").read_text())["argument_specs"]
    (entry,) = entries.values()
    options: dict[str, dict[str, Any]] = entry.get("options", {})
    if not options:
        return
    file = directory / "defaults" / "main.yml"
    defaults = (yaml.safe_load(file.read_text()) or {}) if file.exists() else {}
    yield from ("", f"## {directory.name}", "", f"{entry['short_description'].rstrip('.')}.", "")
    yield from ("| name | type | default | description |", "|---|---|---|---|")
    for name, option in options.items():
        default = default_cell(defaults[name]) if name in defaults else ""
        yield f"| {code(name)} | {type_cell(option)} | {default} | {description_cell(option)} |"


def page(roles: Path) -> str:
    """Return the whole page for a directory of roles."""
    names = {file.parent.parent.name for file in roles.glob("*/meta/argument_specs.yml")}
    ordered = [name for name in FIRST if name in names] + sorted(names.difference(FIRST))
    lines = [line for name in ordered for line in role_section(roles / name)]
    return HEAD + "\n".join(lines) + "\n"


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns the exit status: 1 when --check finds the page stale."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing; exit with 1 when the page is stale")
    parser.add_argument("--roles", type=Path, default=ROOT / "roles", help="directory of the roles")
    parser.add_argument("--page", type=Path, default=PAGE, help="file to write")
    options = parser.parse_args(arguments)
    wanted = page(options.roles)
    if options.page.exists() and options.page.read_text() == wanted:
        return 0
    if options.check:
        print(f"{options.page} is stale: run docs/generate_variables.py.", file=sys.stderr)
        return 1
    options.page.write_text(wanted)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
