"""The command line: reads the inventory, keeps the user's files, and has the privileged engine do the rest."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

from lab import engine, inventory, outer, sshfiles
from lab.engine import Answer, Request
from lab.errors import LabError
from lab.paths import say

REPOSITORY = Path(__file__).resolve().parent.parent
# Where the site answers, rung by rung: the edge with TLS, else the first web host's own server.
_ANSWERS = (("edge", 443, "https://{}/"), ("web", 8000, "http://{}:8000/"))


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    options = _parser().parse_args(arguments)
    try:
        return int(options.run(options) or 0)
    except LabError as error:
        say(str(error))
    except KeyboardInterrupt:
        say("Interrupted. The same command again goes on from here.")
    return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m lab", description="Boot an inventory's hosts on this machine.")
    parser.add_argument("-i", "--inventory", type=Path, default=Path("inventories/lab"), help="default: %(default)s")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, run: object, text: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text, description=text)
        command.set_defaults(run=run)
        return command

    add("up", _up, "Boot the hosts that do not run yet.").add_argument("hosts", nargs="*", metavar="HOST")
    add("down", _down, "Remove the lab with its hosts' disks; nothing is left.")
    status = add("status", _status, "Show the hosts and their states.")
    status.add_argument("--json", action="store_true", help="as JSON")
    add("reboot", _reboot, "Reboot hosts and wait until they are back.").add_argument(
        "hosts", nargs="+", metavar="HOST"
    )
    stop = add("stop", _stop, "Power hosts off; their disks are kept.")
    stop.add_argument("hosts", nargs="+", metavar="HOST")
    stop.add_argument("--hard", action="store_true", help="pull the plug")
    add("start", _up, "Boot hosts that were stopped.").add_argument("hosts", nargs="+", metavar="HOST")
    remove = add("remove", _remove, "Take hosts away with their disks, as lost for good.")
    remove.add_argument("hosts", nargs="+", metavar="HOST")
    cut = add("cut", _cut, "Take running hosts off the network, as if their cables were pulled.")
    cut.add_argument("hosts", nargs="+", metavar="HOST")
    cut.add_argument("--from", dest="others", nargs="+", default=[], metavar="HOST", help="only from these hosts")
    add("mend", _mend, "Undo all cuts.")
    add("url", _url, "Print where the site answers now.")
    add("requirements", _requirements, "Print the Debian packages that the lab needs on this machine.")
    return parser


def _up(options: argparse.Namespace) -> None:
    lab = inventory.load(options.inventory)
    files = sshfiles.SshFiles(REPOSITORY, lab.subnet)
    request = Request(
        "up", str(REPOSITORY), lab.network, tuple(lab.select(options.hosts)), tuple(host.name for host in lab.hosts),
        files.public_key(), outer.user_settings(),
    )  # fmt: skip
    files.write(_ask(request)["hosts"])
    say(f"Log in with: ssh -F {os.path.relpath(files.config)} HOST")


def _down(options: argparse.Namespace) -> None:
    lab = inventory.load(options.inventory)
    _ask(Request("down", str(REPOSITORY), lab.network, ()))
    sshfiles.SshFiles(REPOSITORY, lab.subnet).remove()


def _status(options: argparse.Namespace) -> None:
    lab = inventory.load(options.inventory)
    answer = _ask(Request("status", str(REPOSITORY), lab.network, lab.hosts))
    if options.json:
        print(json.dumps(answer, indent=2))
        return
    rows = [("HOST", "ADDRESS", "RELEASE", "CPUS", "STATE")]
    for host in answer["hosts"]:
        note = f", cut off from {' and '.join(host['cut_from'])}" if host["cut_from"] else ""
        note += "" if host["in_inventory"] else " (not in the inventory)"
        rows.append((host["name"], host["address"], host["release"], str(host["cpus"] or "all"), host["state"] + note))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    if answer["clone"] not in (None, str(REPOSITORY)):
        print(f"This lab is another clone's: {answer['clone']}")


def _reboot(options: argparse.Namespace) -> None:
    lab = inventory.load(options.inventory)
    _ask(Request("reboot", str(REPOSITORY), lab.network, tuple(lab.select(options.hosts))))


def _stop(options: argparse.Namespace) -> None:
    lab = inventory.load(options.inventory)
    _ask(Request("stop", str(REPOSITORY), lab.network, tuple(lab.select(options.hosts)), hard=options.hard))


def _remove(options: argparse.Namespace) -> None:
    lab = inventory.load(options.inventory)
    _ask(Request("remove", str(REPOSITORY), lab.network, tuple(lab.select(options.hosts))))


def _cut(options: argparse.Namespace) -> None:
    lab = inventory.load(options.inventory)
    if both := [name for name in options.hosts if name in options.others]:
        raise LabError(f"{', '.join(both)}: on both sides of the cut; a host stays connected with itself.")
    others = tuple(lab.select(options.others)) if options.others else ()
    _ask(Request("cut", str(REPOSITORY), lab.network, tuple(lab.select(options.hosts)), others=others))


def _mend(options: argparse.Namespace) -> None:
    lab = inventory.load(options.inventory)
    _ask(Request("mend", str(REPOSITORY), lab.network, lab.hosts))


def _url(options: argparse.Namespace) -> None:
    lab = inventory.load(options.inventory)
    tried = []
    for group, port, url in _ANSWERS:
        if not (names := lab.groups.get(group)):
            tried.append(f"the group {group} is empty")
            continue
        [host] = lab.select(names[:1])
        try:
            socket.create_connection((host.address, port), timeout=1).close()
        except OSError as error:
            tried.append(f"{host.name} on {host.address}:{port}: {error.strerror or error}")
            continue
        print(url.format(host.address))
        return
    raise LabError(f"The site does not answer ({'; '.join(tried)}).")


def _requirements(options: argparse.Namespace) -> None:
    print("\n".join(outer.REQUIREMENTS))


def _ask(request: Request) -> Answer:
    """Have the engine carry out a request, as root.

    Raises LabError when it can't, or when there is no way to become root.
    """
    if os.geteuid() == 0:
        return engine.run(request)
    if not (sudo := shutil.which("sudo")):
        raise LabError("The lab needs root for its hosts: install sudo and let this user use it, or run as root.")
    # -B: root leaves no bytecode in the user's clone.
    command = [sudo, "--", sys.executable, "-B", "-m", "lab.engine"]
    done = subprocess.run(command, input=request.to_json(), stdout=subprocess.PIPE, text=True, cwd=REPOSITORY)
    if done.returncode:
        raise LabError("The lab command did not succeed.")
    answer: Answer = json.loads(done.stdout)
    return answer
