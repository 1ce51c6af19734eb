"""The Vagrantfile makes what inventories/vagrant says. Needs Debian's vagrant; no provider, and no machine is made."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent
INVENTORY = Path("inventories/vagrant/hosts.yml")
# Says what Vagrant makes of the Vagrantfile beside it: a line of JSON for each machine.
PROBE = """
require "json"
load File.join(__dir__, "Vagrantfile")
PRINT = Module.new do
  def finalize!
    super
    return unless hostname
    address = networks.assoc(:private_network)&.last&.fetch(:ip)
    puts "PROBE " + JSON.generate(name: hostname, box: box, address: address, variables: HOSTS.fetch(hostname))
  end
end
Vagrant.configure("2") { |config| config.vm.class.prepend(PRINT) }
"""


def vagrant_validate(directory: Path, tmp_path: Path, file: str = "Vagrantfile") -> subprocess.CompletedProcess[str]:
    """Run `vagrant validate` in a directory; Vagrant's own state goes to tmp_path."""
    vagrant = shutil.which("vagrant")
    if not vagrant:
        pytest.fail("vagrant is missing. On Debian: sudo apt-get install --no-install-recommends vagrant")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("VAGRANT_")} | {
        "VAGRANT_CHECKPOINT_DISABLE": "1",
        "VAGRANT_DOTFILE_PATH": str(tmp_path / "dot"),
        "VAGRANT_HOME": str(tmp_path / "home"),
        "VAGRANT_VAGRANTFILE": file,
    }
    command = [vagrant, "validate", "--ignore-provider"]
    return subprocess.run(command, cwd=directory, env=environment, capture_output=True, text=True)


def machines(inventory: dict[str, Any], tmp_path: Path) -> dict[str, dict[str, Any]]:
    """Return what Vagrant makes of an inventory: {name: {box, address, variables}}."""
    done = validate_copy(inventory, tmp_path)
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line.removeprefix("PROBE ")) for line in done.stdout.splitlines() if line.startswith("PROBE ")]
    return {machine["name"]: machine for machine in lines}


def validate_copy(inventory: dict[str, Any], tmp_path: Path) -> subprocess.CompletedProcess[str]:
    copy = tmp_path / "project"
    (copy / INVENTORY).parent.mkdir(parents=True)
    (copy / INVENTORY).write_text(yaml.safe_dump(inventory, sort_keys=False))
    (copy / "Vagrantfile").write_text((ROOT / "Vagrantfile").read_text())
    (copy / "Probe").write_text(PROBE)
    return vagrant_validate(copy, tmp_path, "Probe")


@pytest.fixture
def inventory() -> dict[str, Any]:
    """The inventory of the repository, to be changed."""
    content: dict[str, Any] = yaml.safe_load((ROOT / INVENTORY).read_text())
    return content


def test_vagrant_accepts_the_vagrantfile(tmp_path: Path) -> None:
    done = vagrant_validate(ROOT, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


def test_vagrant_makes_the_hosts_that_ansible_knows(inventory: dict[str, Any], tmp_path: Path) -> None:
    ansible = [str(Path(sys.executable).parent / "ansible-inventory"), "-i", str(ROOT / INVENTORY), "--list"]
    listing = json.loads(subprocess.run(ansible, check=True, capture_output=True, text=True).stdout)
    known = listing["_meta"]["hostvars"]
    made = machines(inventory, tmp_path)
    assert made.keys() == known.keys()
    for name, variables in known.items():
        assert made[name]["address"] == variables["ansible_host"]
        assert made[name]["box"] == variables["vagrant_boxes"][variables["vagrant_release"]]
        for wanted in ("vagrant_memory_mb", "vagrant_cpus", "vagrant_provider"):
            assert made[name]["variables"][wanted] == variables[wanted]


def test_a_host_that_is_added_to_the_inventory_becomes_a_machine(inventory: dict[str, Any], tmp_path: Path) -> None:
    inventory["all"]["children"]["web"]["hosts"]["web3"] = {
        "ansible_host": "192.168.56.33",
        "vagrant_release": "bookworm",
    }
    machine = machines(inventory, tmp_path)["web3"]
    assert (machine["box"], machine["address"]) == ("debian/bookworm64", "192.168.56.33")


def test_the_nearest_variable_wins_also_for_a_host_in_two_groups(inventory: dict[str, Any], tmp_path: Path) -> None:
    groups = inventory["all"]["children"]
    groups["db"] = {"vars": {"vagrant_memory_mb": 2048, "vagrant_cpus": 4},
                    "hosts": {"site1": {"ansible_host": "192.168.56.51", "vagrant_cpus": 2}}}  # fmt: skip
    groups["web"]["hosts"]["site1"] = None
    variables = machines(inventory, tmp_path)["site1"]["variables"]
    assert (variables["vagrant_memory_mb"], variables["vagrant_cpus"]) == (2048, 2)


@pytest.mark.parametrize(
    ("variables", "complaint"),
    [
        ({}, "host web9 has no ansible_host."),
        (
            {"ansible_host": "192.168.56.39", "vagrant_release": "buster"},
            "host web9 has vagrant_release buster; vagrant_boxes has trixie, bookworm.",
        ),
    ],
)
def test_a_host_that_cannot_be_made_is_named(
    inventory: dict[str, Any], tmp_path: Path, variables: dict[str, str], complaint: str
) -> None:
    inventory["all"]["children"]["web"]["hosts"]["web9"] = variables
    done = validate_copy(inventory, tmp_path)
    assert done.returncode != 0
    assert complaint in done.stderr
