"""Every inventory of the repository is complete, and the template's words are true."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
INVENTORIES = sorted(file.parent.name for file in (ROOT / "inventories").glob("*/hosts.yml"))
EXAMPLE = ROOT / "inventories/example/group_vars/all"


def listing(name: str) -> dict[str, Any]:
    """Return what ansible-inventory says of one of the inventories."""
    command = [str(BIN / "ansible-inventory"), "-i", f"inventories/{name}", "--list"]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("name", INVENTORIES)
def test_every_group_has_a_host_and_every_host_an_address_of_its_own(name: str) -> None:
    found = listing(name)
    for group in ("db", "cache", "web", "edge"):
        assert found[group]["hosts"], group
    addresses = [variables["ansible_host"] for variables in found["_meta"]["hostvars"].values()]
    assert len(set(addresses)) == len(addresses) > 0


@pytest.mark.parametrize("name", INVENTORIES)
def test_the_users_choices_fit_a_page(name: str) -> None:
    assert len((ROOT / "inventories" / name / "group_vars/all/main.yml").read_text().splitlines()) <= 40


def test_the_template_names_only_variables_that_exist() -> None:
    """Also where they are commented out."""
    specs = [yaml.safe_load(file.read_text()) for file in ROOT.glob("roles/*/meta/argument_specs.yml")]
    entries = [entry for spec in specs for entry in spec["argument_specs"].values()]
    known = {name for entry in entries for name in entry.get("options", {})}
    named = re.findall(r"^(?:# )?([a-z_]+):(?: |$)", (EXAMPLE / "main.yml").read_text(), re.MULTILINE)
    assert named
    assert set(named) <= known


def test_the_templates_secrets_are_those_that_have_no_default() -> None:
    defaults = yaml.safe_load((ROOT / "roles/app/defaults/main.yml").read_text())
    secrets = {name for name in ("app_secret_key", "app_database_password") if defaults[name] == ""}
    assert yaml.safe_load((EXAMPLE / "vault.yml.example").read_text()).keys() == secrets


def test_the_template_without_a_vault_is_told_what_to_write_before_any_host_is_asked() -> None:
    command = [str(BIN / "ansible-playbook"), "-i", "inventories/example", "site.yml"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode != 0
    assert "app_secret_key is not set" in done.stdout + done.stderr
    assert "group_vars/all/vault.yml" in done.stdout + done.stderr
    assert "UNREACHABLE" not in done.stdout
