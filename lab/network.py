"""A lab's network: one bridge, masquerade to the outside, and the few sysctls that labs need."""

from __future__ import annotations

import ipaddress
import json
import subprocess
import time
from pathlib import Path
from typing import Any

from lab import paths
from lab.errors import LabError

# What labs need at least. A bare systemd host takes about six inotify instances of the user root.
_SYSCTLS = {"net/ipv4/ip_forward": 1, "fs/inotify/max_user_instances": 1024}
_SAVED = paths.RUN / "sysctls.json"


def _subnet(network: ipaddress.IPv4Network) -> str:
    return str(network.network_address)


def bridge(network: ipaddress.IPv4Network) -> str:
    """The name of a lab's bridge: at most 15 characters, as links have it."""
    return "hp" + "-".join(_subnet(network).split(".")[:3])


def gateway(network: ipaddress.IPv4Network) -> str:
    """The outer machine's address in a lab."""
    return str(network.network_address + 1)


def conflicts(network: ipaddress.IPv4Network) -> list[str]:
    """What else on this machine uses the addresses of a lab to be, in words."""
    found = []
    for route in _ip("-4", "route", "show", "table", "all"):
        target = route["dst"].removeprefix("local ").removeprefix("broadcast ")
        if target == "default" or route.get("dev") in (bridge(network), "lo") or "dev" not in route:
            continue
        reached = ipaddress.ip_network(target, strict=False)
        # Wider ones are a VPN's halves of the default route.
        if reached.prefixlen >= 8 and network.overlaps(reached):
            found.append(f"{route['dev']} already reaches {target}, which overlaps the lab's {network}")
    return sorted(set(found))


def exists(network: ipaddress.IPv4Network) -> bool:
    """Whether a lab's bridge is there: the first thing that `up` makes and the last that `down` removes."""
    return Path("/sys/class/net", bridge(network)).exists()


def up(network: ipaddress.IPv4Network) -> None:
    """Make a lab's bridge, address translation and forwarding; whatever is there already is kept."""
    _raise_sysctls()
    name = bridge(network)
    mac = "02:00:" + network.network_address.packed.hex(":")
    if not exists(network):
        _run("ip", "link", "add", name, "address", mac, "type", "bridge", "forward_delay", "0")
    _run("ip", "address", "replace", f"{gateway(network)}/24", "dev", name)
    _run("ip", "link", "set", name, "up")
    # A host that boots is found at once, not at the next of one question a second.
    Path("/proc/sys/net/ipv4/neigh", name, "retrans_time_ms").write_text("100")
    name_of_table = table(network)
    nft(f"""
        add table ip {name_of_table}
        delete table ip {name_of_table}
        table ip {name_of_table} {{
          chain postrouting {{
            type nat hook postrouting priority srcnat;
            ip saddr {network} ip daddr != {network} masquerade
          }}
        }}
    """)
    _open_forwarding(name)


def down(network: ipaddress.IPv4Network) -> None:
    """Remove all that `up` made, and the hosts' links; what is not there is fine."""
    name = bridge(network)
    for port in Path("/sys/class/net", name).glob("brif/*"):
        _run("ip", "link", "delete", port.name, may_fail=True)  # may go by itself, with its host
    _close_forwarding(name)
    for family in ("ip", "bridge"):
        nft(f"add table {family} {table(network)}\ndelete table {family} {table(network)}")
    if exists(network):
        _run("ip", "link", "delete", name)


def link(network: ipaddress.IPv4Network, machine: str) -> str | None:
    """The outer end of a running host's link; nspawn shortens long names, and keeps the whole one as another name."""
    wanted = f"vb-{machine}"
    for port in _ip("link", "show", "master", bridge(network)):
        if wanted in (port["ifname"], *port.get("altnames", [])):
            return str(port["ifname"])
    return None


def unplug(network: ipaddress.IPv4Network, machine: str, patience: float = 10.0) -> None:
    """Remove the link of a host that was killed, which else goes in the kernel's own time: the next boot is in the way.

    Raises LabError when it is still there after `patience` seconds.
    """
    deadline = time.monotonic() + patience
    while exists(network) and (name := link(network, machine)):
        _run("ip", "link", "delete", name, may_fail=True)  # may go by itself meanwhile
        if time.monotonic() > deadline:
            raise LabError(f"The link {name} of a host that is off does not go away.")
        time.sleep(0.02)


def cut_connections(addresses: list[str]) -> None:
    """End the outer machine's TCP connections to hosts that are gone, such as ssh's shared ones (best effort)."""
    for address in addresses:
        _run("ss", "--kill", "--no-header", "dst", address, may_fail=True)


def restore_sysctls() -> None:
    """Give the sysctls back the values they had before the first lab, unless someone set others since."""
    for key, value in _saved_sysctls().items():
        file = Path("/proc/sys", key)
        if int(file.read_text()) == _SYSCTLS[key]:
            file.write_text(str(value))
    _SAVED.unlink(missing_ok=True)


def _raise_sysctls() -> None:
    saved = _saved_sysctls()
    now = {key: int(Path("/proc/sys", key).read_text()) for key in _SYSCTLS}
    low = {key: value for key, value in now.items() if value < _SYSCTLS[key]}
    if low:
        # Written before anything changes: what was there first is what counts.
        _SAVED.write_text(json.dumps({"boot": _boot_id(), "values": low | saved}))
    for key in low:
        Path("/proc/sys", key).write_text(str(_SYSCTLS[key]))


def _saved_sysctls() -> dict[str, int]:
    """The values before the first lab; those saved before a reboot of the machine don't count."""
    if not _SAVED.exists():
        return {}
    saved = json.loads(_SAVED.read_text())
    return dict(saved["values"]) if saved["boot"] == _boot_id() else {}


def _boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def table(network: ipaddress.IPv4Network) -> str:
    """The name of a lab's tables of nft, one a family."""
    return "hugproof_" + "_".join(_subnet(network).split(".")[:3])


def _open_forwarding(name: str) -> None:
    """Let the bridge through firewalls that drop forwarded packets by default, as Docker's does."""
    _close_forwarding(name)
    for chain in nft_list("chains", "chain"):
        if chain.get("hook") == "forward" and chain.get("policy") == "drop":
            where = f"{chain['family']} {chain['table']} {chain['name']}"
            for direction in ("iifname", "oifname"):
                nft(f'insert rule {where} {direction} "{name}" accept comment "{_mark(name)}"')


def _close_forwarding(name: str) -> None:
    for rule in nft_list("ruleset", "rule"):
        if rule.get("comment") == _mark(name):
            nft(f"delete rule {rule['family']} {rule['table']} {rule['chain']} handle {rule['handle']}")


def _mark(name: str) -> str:
    return f"hugproof-lab {name}"


def nft_list(what: str, kind: str) -> list[dict[str, Any]]:
    """What nft has of a kind in one of its listings, in the form of its JSON."""
    listing = json.loads(_run("nft", "--json", "list", what))["nftables"]
    return [entry[kind] for entry in listing if kind in entry]


def nft(script: str) -> None:
    """Have nft carry out a script, all of it or nothing."""
    _run("nft", "--file", "-", stdin=script)


def _ip(*arguments: str) -> list[dict[str, Any]]:
    result: list[dict[str, Any]] = json.loads(_run("ip", "-json", *arguments) or "[]")
    return result


def _run(*command: str, stdin: str = "", may_fail: bool = False) -> str:
    try:
        done = subprocess.run(command, input=stdin, capture_output=True, text=True)
    except FileNotFoundError as error:
        raise LabError(f"The command {command[0]} is missing: see `python -m lab requirements`.") from error
    if done.returncode and not may_fail:
        raise LabError(f"`{' '.join(command)}` failed: {done.stderr.strip()}\n{stdin}".rstrip())
    return done.stdout
