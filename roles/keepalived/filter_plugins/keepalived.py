"""Which interface is to have an address."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError


def keepalived_interfaces(listing: Iterable[Mapping[str, Any]], addresses: Iterable[str], own: str) -> dict[str, str]:
    """Return the interface's name for each of some addresses: the one in whose network it is, or else that of `own`.

    `listing` is what `ip -json address` says. Raises AnsibleFilterError when no interface has the address `own`.
    """
    interfaces: list[tuple[str, ipaddress.IPv4Interface | ipaddress.IPv6Interface]] = [
        (link["ifname"], ipaddress.ip_interface(f"{entry['local']}/{entry['prefixlen']}"))
        for link in listing
        for entry in link.get("addr_info", [])
        if "local" in entry
    ]
    of_own = [name for name, interface in interfaces if interface.ip == ipaddress.ip_address(own)]
    if not of_own:
        raise AnsibleFilterError(f"No interface has the address {own}.")
    found = {}
    for address in addresses:
        # A shared address that is there already, alone in its network, says nothing.
        near = [
            (interface.network.prefixlen, name)
            for name, interface in interfaces
            if interface.network.num_addresses > 1 and ipaddress.ip_address(address) in interface.network
        ]
        found[address] = max(near)[1] if near else of_own[0]
    return found


class FilterModule:
    """The filters of the role keepalived."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by name, as Ansible asks for them."""
        return {"keepalived_interfaces": keepalived_interfaces}
