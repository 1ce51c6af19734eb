"""The privileged side: makes this machine run the hosts that the front asks for.

Reads one request as JSON from standard input, tells the user about it on standard error, and prints its answer as JSON.
"""

from __future__ import annotations

import dataclasses
import ipaddress
import json
import os
import shutil
import sys
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab import cgroups, cuts, hosts, images, locks, network, outer, packages, paths
from lab.errors import LabError
from lab.hosts import Machine
from lab.inventory import Host
from lab.paths import say

Answer = dict[str, Any]


@dataclass(frozen=True)
class Request:
    """What the front asks for: a command on the lab of `clone` in `network`, and on `hosts` of it.

    `inventory` names all hosts that the inventory has; `settings` are outer.user_settings(); `others` are those that
    `hosts` are cut off from.
    """

    command: str
    clone: str
    network: ipaddress.IPv4Network
    hosts: tuple[Host, ...]
    inventory: tuple[str, ...] = ()
    public_key: str = ""
    settings: dict[str, str] = dataclasses.field(default_factory=dict)
    hard: bool = False
    others: tuple[Host, ...] = ()

    @property
    def subnet(self) -> str:
        """The network's address, the name of the lab."""
        return str(self.network.network_address)

    def to_json(self) -> str:
        """Put the request into the form that `from_json` reads."""
        return json.dumps(dataclasses.asdict(self) | {"network": str(self.network)})

    @classmethod
    def from_json(cls, text: str) -> Request:
        """Read a request that `to_json` wrote."""
        fields = json.loads(text)
        fields["network"] = ipaddress.IPv4Network(fields["network"])
        for name in ("hosts", "others"):
            fields[name] = tuple(Host(**host) for host in fields[name])
        return cls(**fields)


def run(request: Request) -> Answer:
    """Carry out a request as root.

    Raises LabError for whatever the user can act on.
    """
    os.umask(0o022)
    os.environ["PATH"] += ":/usr/local/sbin:/usr/sbin:/sbin"
    commands = {
        "up": _up, "down": _down, "status": _status, "reboot": _reboot, "stop": _stop, "remove": _remove_hosts,
        "cut": _cut, "mend": _mend,
    }  # fmt: skip
    command = commands[request.command]
    if request.command == "status":
        return command(request)
    with locks.hold(paths.RUN / f"{request.subnet}.lock", f"the lab {request.network}"):
        return command(request)


def _up(request: Request) -> Answer:
    cuts.refuse_cut(request.network, [host.name for host in request.hosts])
    with _shared():
        _check(request)
        _claim(request)
        network.up(request.network)
    known = hosts.known(request.network)
    if any(host.name not in known for host in request.hosts):
        known = _create_disks(request, known)
    started = []
    for machine in (known[host.name] for host in request.hosts):
        if machine.state == "running":
            cgroups.limit(machine.cgroup, machine.host.cpus)
            continue
        if machine.state == "orphaned":
            say(f"{machine.host.name} runs without its supervisor, which was killed: booting it again on its disk.")
        hosts.pull_the_plug(machine)
        hosts.start(machine)
        started.append(machine.host.name)
    hosts.wait_for_ssh([known[host.name] for host in request.hosts])
    running = [host.name for host in request.hosts]
    say(f"Booted: {', '.join(started)}." if started else f"Running already: {', '.join(running)}.")
    if others := [name for name in known if name not in request.inventory]:
        say(f"Also in this lab, though not in the inventory: {', '.join(others)}. `down` removes them too.")
    return {
        "hosts": [
            {"name": name, "address": machine.host.address, "host_key": machine.host_key}
            for name, machine in known.items()
        ]
    }


def _create_disks(request: Request, known: dict[str, Machine]) -> dict[str, Machine]:
    """Make the disks of the hosts that have none; returns all hosts of the lab."""
    new = [host for host in request.hosts if host.name not in known]
    base = {release: images.ensure(release) for release in sorted({host.release for host in new})}
    if outer.resolv_conf() is None:
        say("Warning: the hosts will not resolve names; this machine has no name server but on its loopback address.")
    for machine in known.values():
        packages.harvest(machine.host.release, machine.disk / "upper")
    packages.drop_unused()
    for host in new:
        hosts.create(Machine(request.network, host, base[host.release]), request.public_key, request.settings)
    images.drop_unused(hosts.images_in_use() | set(base.values()))
    return hosts.known(request.network)


def _check(request: Request) -> None:
    """Raise LabError with all at once that is in the way of `up`."""
    known = hosts.known(request.network)
    if not all(host.name in known and known[host.name].state == "running" for host in request.hosts):
        paths.DISKS.mkdir(parents=True, exist_ok=True)
        if faults := outer.faults():
            raise LabError("\n".join(faults))
    faults = [f"{text}: give the hosts an ansible_host in another /24." for text in network.conflicts(request.network)]
    if any(host.cpus for host in request.hosts) and not cgroups.can_limit():
        faults.append("This machine has no cgroup controller for CPU time: remove lab_cpus from the inventory.")
    if not _is_foreign(request):
        faults += _changes(request, known)
    if faults:
        raise LabError("\n".join(faults))


def _changes(request: Request, known: dict[str, Machine]) -> list[str]:
    """What the inventory says of hosts that were made otherwise. A new CPU limit is simply taken over."""
    faults = []
    addresses = {machine.host.address: name for name, machine in known.items()}
    for host in request.hosts:
        if (user := addresses.get(host.address, host.name)) != host.name:
            faults.append(f"{host.name}: {host.address} belongs to {user} in this lab, up since before.")
        if host.name not in known:
            continue
        made = known[host.name].host
        if (made.address, made.release) != (host.address, host.release):
            faults.append(f"{host.name} was made as {made.address}, {made.release}; the inventory now says "
                          f"{host.address}, {host.release}.")  # fmt: skip
        elif made != host:
            hosts.remember(dataclasses.replace(known[host.name], host=host))
    return [*faults, "Take the lab down first, or undo the change in the inventory."] if faults else []


def _claim(request: Request) -> None:
    """Make the lab this clone's, and its hosts open to this clone's key.

    Raises LabError when another clone's hosts run in it.
    """
    if _is_foreign(request):
        owner = _owner(request)["clone"]
        if _is_anothers(request):
            raise LabError(f"The lab {request.network} is up for another clone, {owner}: take it down there, "
                           "or give this clone's hosts an ansible_host in another /24.")  # fmt: skip
        say(f"Removing what is left of the lab {request.network} of {owner}.")
        _remove(request)
    if _owner(request).get("public_key") != request.public_key:
        for machine in hosts.known(request.network).values():
            hosts.authorize(machine, request.public_key)
    file = _owner_file(request)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({"clone": request.clone, "public_key": request.public_key}))


def _down(request: Request) -> Answer:
    if _is_anothers(request):
        say(f"The lab {request.network} is up for another clone, {_owner(request)['clone']}: left alone. "
            "Nothing of this clone is up in it.")  # fmt: skip
        return {}
    was_up = _remove(request)
    images.drop_unfinished()
    with _shared():
        if was_up or network.exists(request.network):
            network.down(request.network)
        if not any(paths.DISKS.glob("*/*")):
            network.restore_sysctls()
    say(f"The lab {request.network} is down." if was_up else f"No lab was up in {request.network}.")
    return {}


def _remove(request: Request) -> bool:
    """Kill a lab's hosts and remove their disks; returns whether there were any."""
    disks, state = paths.DISKS / request.subnet, paths.RUN / request.subnet
    was_up = disks.exists() or cgroups.populated(request.subnet)
    cgroups.kill(request.subnet)
    cgroups.remove(request.subnet)
    machines = hosts.known(request.network).values()
    network.cut_connections([machine.host.address for machine in machines])
    for machine in machines:
        packages.harvest(machine.host.release, machine.disk / "upper")
    for directory in (disks, state):
        if directory.exists():
            shutil.rmtree(directory)
    return was_up


def _stop(request: Request) -> Answer:
    for machine in _existing(request):
        if machine.state == "stopped":
            say(f"{machine.host.name} is off already.")
            continue
        if request.hard or machine.state == "orphaned":
            hosts.pull_the_plug(machine)
        else:
            hosts.power_off(machine)
        say(f"{machine.host.name} is off; its disk is kept.")
    return {}


def _remove_hosts(request: Request) -> Answer:
    machines = _existing(request)
    for machine in machines:
        hosts.pull_the_plug(machine)
        packages.harvest(machine.host.release, machine.disk / "upper")
        shutil.rmtree(machine.disk)
    say(f"Gone with their disks: {', '.join(machine.host.name for machine in machines)}. `up` boots bare ones instead.")
    return {}


def _reboot(request: Request) -> Answer:
    machines = _existing(request)
    cuts.refuse_cut(request.network, [machine.host.name for machine in machines])
    for machine in machines:
        hosts.reboot(machine)
    hosts.wait_for_ssh(machines)
    say(f"Rebooted: {', '.join(machine.host.name for machine in machines)}.")
    return {}


def _cut(request: Request) -> Answer:
    both = _existing(dataclasses.replace(request, hosts=request.hosts + request.others))
    links = {machine.host.name: machine.link for machine in both}
    if off := [name for name, link in links.items() if link is None]:
        raise LabError(f"{', '.join(off)}: not running, so there is no cable to pull.")
    sides = ({host.name: str(links[host.name]) for host in side} for side in (request.hosts, request.others))
    cuts.cut(request.network, *sides)
    whom = f"from {', '.join(host.name for host in request.others)}" if request.others else "the network"
    say(f"Cut off {whom}: {', '.join(host.name for host in request.hosts)}. `mend` undoes it.")
    return {}


def _mend(request: Request) -> Answer:
    if _is_anothers(request):
        raise LabError(f"The lab {request.network} is another clone's, {_owner(request)['clone']}.")
    cuts.mend(request.network)
    say("Every host that runs is on the network.")
    return {}


def _status(request: Request) -> Answer:
    known, cut_off = hosts.known(request.network), cuts.standing(request.network)
    wanted = {host.name: host for host in request.hosts}
    rows = []
    for name, host in (wanted | {name: machine.host for name, machine in known.items()}).items():
        state = known[name].state if name in known else "absent"
        if state == "running" and name in cut_off and not cut_off[name]:
            state = "cut"
        row = {"state": state, "cut_from": sorted(cut_off.get(name, ())), "in_inventory": name in wanted}
        rows.append(dataclasses.asdict(host) | row)
    return {"hosts": rows, "clone": _owner(request).get("clone")}


def _existing(request: Request) -> list[Machine]:
    """The hosts of a request, all of which were up before."""
    if _is_anothers(request):
        raise LabError(f"The lab {request.network} is another clone's, {_owner(request)['clone']}.")
    known = hosts.known(request.network)
    if absent := [host.name for host in request.hosts if host.name not in known]:
        raise LabError(f"{', '.join(absent)}: never up in the lab {request.network}; bring the lab up first.")
    return [known[host.name] for host in request.hosts]


def _owner_file(request: Request) -> Path:
    return paths.DISKS / request.subnet / "lab.json"


def _owner(request: Request) -> dict[str, str]:
    """Whose lab it is: `clone` and its `public_key`; empty when it is nobody's."""
    try:
        return dict(json.loads(_owner_file(request).read_text()))
    except (FileNotFoundError, json.JSONDecodeError):  # none, or cut by a kill
        return {}


def _is_foreign(request: Request) -> bool:
    return _owner(request).get("clone", request.clone) != request.clone


def _is_anothers(request: Request) -> bool:
    """Whether the lab is one that another clone, which still exists, has running."""
    return _is_foreign(request) and Path(_owner(request)["clone"]).exists() and cgroups.populated(request.subnet)


def _shared() -> AbstractContextManager[None]:
    """The lock of what all labs of the machine share; held for moments only."""
    return locks.hold(paths.RUN / "shared.lock", "what all labs share")


def main() -> int:
    """Serve one request from standard input."""
    try:
        print(json.dumps(run(Request.from_json(sys.stdin.read()))))
    except LabError as error:
        say(str(error))
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
