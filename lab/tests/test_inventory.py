"""What the lab makes of an inventory, and what it tells the user about a faulty one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lab import inventory
from lab.errors import LabError
from lab.inventory import Host, Lab


def parse(hosts: dict[str, dict[str, Any]], **groups: dict[str, list[str]]) -> Lab:
    listing = {"_meta": {"hostvars": hosts}, "all": {"children": ["ungrouped", *groups]}, **groups}
    return inventory.parse(listing | {"ungrouped": {"hosts": list(hosts)}}, "hosts.yml")


def refused(hosts: dict[str, dict[str, Any]]) -> str:
    with pytest.raises(LabError) as error:
        parse(hosts)
    return str(error.value)


def test_a_host_is_trixie_without_a_cpu_limit_unless_the_inventory_says_otherwise() -> None:
    plain, other = parse(
        {
            "web1": {"ansible_host": "10.45.9.11"},
            "web2": {"ansible_host": "10.45.9.12", "lab_release": "bookworm", "lab_cpus": 0.5},
        }
    ).hosts
    assert plain == Host("web1", "10.45.9.11", "trixie", None)
    assert other == Host("web2", "10.45.9.12", "bookworm", 0.5)


def test_the_subnet_is_the_hosts_slash_24() -> None:
    lab = parse({"web1": {"ansible_host": "10.45.9.11"}})
    assert str(lab.network) == "10.45.9.0/24"
    assert lab.subnet == "10.45.9.0"


def test_a_group_has_its_childrens_hosts_in_the_inventorys_order() -> None:
    names = {name: {"ansible_host": f"10.45.9.{number}"} for number, name in enumerate(("b", "a"), start=11)}
    lab = parse(names, edge={"children": ["inner"]}, inner={"hosts": ["b", "a"]})
    assert lab.groups["edge"] == ["b", "a"]
    assert [host.name for host in lab.hosts] == ["b", "a"]


@pytest.mark.parametrize(
    ("variables", "told"),
    [
        ({}, "Host 'web1' has no ansible_host: write an address"),
        ({"ansible_host": "web1.example.org"}, "is not an IPv4 address"),
        ({"ansible_host": "203.0.113.9"}, "is not a private address"),
        ({"ansible_host": "10.45.9.1"}, "is taken in every lab"),
        ({"ansible_host": "10.45.9.11", "lab_release": "sid"}, "write trixie or bookworm"),
        ({"ansible_host": "10.45.9.11", "ansible_user": "root"}, "write ansible_user: debian"),
        ({"ansible_host": "10.45.9.11", "lab_cpus": "half"}, "write one such as 0.5"),
        ({"ansible_host": "10.45.9.11", "lab_cpus": 0}, "write one such as 0.5"),
        ({"ansible_host": "10.45.9.11", "lab_cpus": "nan"}, "write one such as 0.5"),
        ({"ansible_host": "10.45.9.11", "lab_cpus": "inf"}, "write one such as 0.5"),
    ],
)
def test_a_faulty_host_is_named_with_what_to_write(variables: dict[str, Any], told: str) -> None:
    text = refused({"web1": variables})
    assert text.startswith("hosts.yml: Host 'web1'")
    assert told in text


def test_a_name_that_can_not_be_a_host_name_is_refused() -> None:
    assert "Host 'web_1' can not be a host name" in refused({"web_1": {"ansible_host": "10.45.9.11"}})


def test_two_hosts_with_one_address_are_both_named() -> None:
    same = {"ansible_host": "10.45.9.11"}
    assert "web1 and web2 have the same ansible_host 10.45.9.11" in refused({"web1": same, "web2": same})


def test_addresses_in_two_networks_are_refused() -> None:
    text = refused({"web1": {"ansible_host": "10.45.9.11"}, "web2": {"ansible_host": "10.45.8.11"}})
    assert "not all in one /24" in text
    assert "web2 10.45.8.11" in text


def test_all_faults_are_told_at_once() -> None:
    assert len(refused({"web1": {}, "web2": {"ansible_host": "10.45.9.11", "lab_release": "sid"}}).splitlines()) == 2


def test_an_inventory_without_hosts_is_refused() -> None:
    assert "hosts.yml has no hosts" in refused({})


def test_a_host_that_the_inventory_does_not_have_is_refused_with_those_it_has() -> None:
    lab = parse({"web1": {"ansible_host": "10.45.9.11"}})
    with pytest.raises(LabError, match=r"has no host web9; it has web1\."):
        lab.select(["web9"])


def test_an_inventory_file_is_read_through_ansible(tmp_path: Path) -> None:
    file = tmp_path / "hosts.yml"
    file.write_text("all: {children: {web: {hosts: {web1: {ansible_host: 10.45.9.11}}}}}\n")
    assert inventory.load(file).groups["web"] == ["web1"]


def test_an_inventory_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(LabError, match=r"There is no inventory .*/absent\.yml"):
        inventory.load(tmp_path / "absent.yml")
