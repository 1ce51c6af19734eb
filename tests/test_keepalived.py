"""Which interface of an edge host is to have an address that it shares."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from loading import load

keepalived = load("keepalived/filter_plugins/keepalived.py")


def link(name: str, *addresses: str) -> dict[str, Any]:
    """An interface as `ip -json address` tells of it."""
    parts = [address.split("/") for address in addresses]
    return {"ifname": name, "addr_info": [{"local": local, "prefixlen": int(prefix)} for local, prefix in parts]}


HOST = [
    link("lo", "127.0.0.1/8", "::1/128"),
    link("public", "192.0.2.41/24", "2001:db8:1::41/64"),
    link("private", "10.0.0.41/16", "10.0.3.41/24"),
    {"ifname": "down"},
]


@pytest.mark.parametrize(
    ("address", "interface"),
    [
        ("192.0.2.10", "public"),
        ("10.0.9.10", "private"),
        ("10.0.3.10", "private"),
        ("2001:db8:1::10", "public"),
        ("198.51.100.10", "private"),
    ],
    ids=["its network's", "a wide network's", "the narrowest network's", "IPv6", "in no network, so the own address's"],
)
def test_an_address_goes_where_its_network_is(address: str, interface: str) -> None:
    assert keepalived.keepalived_interfaces(HOST, [address], "10.0.0.41") == {address: interface}


def test_an_address_that_is_there_already_stays_where_its_network_is() -> None:
    there = [link("stale", "192.0.2.10/32"), *HOST]
    assert keepalived.keepalived_interfaces(there, ["192.0.2.10"], "10.0.0.41") == {"192.0.2.10": "public"}


def test_a_host_without_its_own_address_is_told() -> None:
    with pytest.raises(AnsibleFilterError, match=r"No interface has the address 203\.0\.113\.5\."):
        keepalived.keepalived_interfaces(HOST, ["192.0.2.10"], "203.0.113.5")
