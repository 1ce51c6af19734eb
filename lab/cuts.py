"""Hosts without a network: what they send, and what is sent to them, is dropped on the lab's bridge.

The rules are a table of the lab's own of nft's family bridge, and the only record: their comments name the hosts.
"""

from __future__ import annotations

import ipaddress
from itertools import product

from lab import network
from lab.errors import LabError

# By host name: from whom it is cut off; from everybody when that is empty.
Cuts = dict[str, set[str]]


def cut(net: ipaddress.IPv4Network, links: dict[str, str], others: dict[str, str]) -> None:
    """Cut hosts off, from all and everything or, when there are any, from `others` alone; both are links by name."""
    rules = []
    for name, link in links.items():
        if not others:
            rules += [f'prerouting iifname "{link}" drop comment "{name}"',
                      f'postrouting oifname "{link}" drop comment "{name}"']  # fmt: skip
    for (name, link), (other, beyond) in product(links.items(), others.items()):
        rules += [f'forward iifname "{here}" oifname "{there}" drop comment "{name} {other}"'
                  for here, there in ((link, beyond), (beyond, link))]  # fmt: skip
    table = network.table(net)
    chains = "".join(
        f"chain {hook} {{ type filter hook {hook} priority 0; }}\n" for hook in ("prerouting", "forward", "postrouting")
    )
    added = "\n".join(f"add rule bridge {table} {rule}" for rule in rules)
    network.nft(f"table bridge {table} {{\n{chains}}}\n{added}")


def mend(net: ipaddress.IPv4Network) -> None:
    """Undo all cuts of a lab; fine when there is none."""
    network.nft(f"add table bridge {network.table(net)}\ndelete table bridge {network.table(net)}")


def standing(net: ipaddress.IPv4Network) -> Cuts:
    """The cuts of a lab."""
    comments = [rule["comment"] for rule in network.nft_list("ruleset", "rule")
                if (rule["family"], rule["table"]) == ("bridge", network.table(net))]  # fmt: skip
    found: Cuts = {}
    for name, other in (comment.split(" ") for comment in comments if " " in comment):
        found.setdefault(name, set()).add(other)
        found.setdefault(other, set()).add(name)
    return found | {comment: set() for comment in comments if " " not in comment}


def refuse_cut(net: ipaddress.IPv4Network, names: list[str]) -> None:
    """Raise LabError when a host is cut off entirely: nobody would hear it answer."""
    cuts = standing(net)
    if silent := [name for name in names if name in cuts and not cuts[name]]:
        raise LabError(f"{', '.join(silent)}: cut off the network. `mend` first.")
