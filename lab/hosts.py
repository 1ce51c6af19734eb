"""Single hosts: their disks, their supervisors, and whether they live."""

from __future__ import annotations

import dataclasses
import ipaddress
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from lab import cgroups, network, outer, packages, paths
from lab.errors import LabError
from lab.inventory import LOGIN_USER, Host

_SUPERVISOR = Path(__file__).with_name("host.sh")
_POWER_OFF, _REBOOT = signal.SIGRTMIN + 4, signal.SIGRTMIN + 5  # systemd's, for PID 1 of a container


@dataclass(frozen=True)
class Machine:
    """A host of a lab on this machine: `host` as it was made, on the base `image`."""

    network: ipaddress.IPv4Network
    host: Host
    image: Path

    @property
    def subnet(self) -> str:
        """The network's address, the name of the lab."""
        return str(self.network.network_address)

    @property
    def disk(self) -> Path:
        """The directory of the disk: `upper` is what differs from the image."""
        return paths.DISKS / self.subnet / self.host.name

    @property
    def cgroup(self) -> str:
        """The host's cgroup; `leaf` has its supervisor, `machine` the host itself."""
        return f"{self.subnet}/{self.host.name}"

    @property
    def nspawn(self) -> str:
        """Its name among all containers of this machine."""
        return f"{self.host.name}-{'-'.join(self.subnet.split('.')[:3])}"

    @property
    def link(self) -> str | None:
        """The end of its cable at the bridge, when it runs."""
        return network.link(self.network, self.nspawn)

    @property
    def console(self) -> Path:
        """The log of its console."""
        return paths.RUN / self.subnet / f"{self.host.name}.log"

    @property
    def state(self) -> str:
        """`running`, `stopped`, or `orphaned` when it runs without the supervisor that boots it again."""
        if cgroups.populated(f"{self.cgroup}/leaf"):
            return "running"
        return "orphaned" if cgroups.populated(self.cgroup) else "stopped"

    @property
    def host_key(self) -> str:
        """The public key of its sshd."""
        return " ".join((self.disk / "upper/etc/ssh/ssh_host_ed25519_key.pub").read_text().split()[:2])


def known(net: ipaddress.IPv4Network) -> dict[str, Machine]:
    """The hosts of a lab that have a disk, by name."""
    found = {}
    for file in sorted((paths.DISKS / str(net.network_address)).glob("*/host.json")):
        record = json.loads(file.read_text())
        found[file.parent.name] = Machine(net, Host(**record["host"]), Path(record["image"]))
    return found


def images_in_use() -> set[Path]:
    """The images under the disks of all labs."""
    return {Path(json.loads(file.read_text())["image"]) for file in paths.DISKS.glob("*/*/host.json")}


def create(machine: Machine, public_key: str, settings: dict[str, str]) -> None:
    """Make a host's disk. One that a killed command left half made is made anew."""
    shutil.rmtree(machine.disk, ignore_errors=True)
    for name in ("upper", "work", "root"):
        (machine.disk / name).mkdir(parents=True)
    tree = _Tree(machine.disk / "upper", machine.image)
    for path, text in _identity(machine).items() | outer.host_files(machine.host.release, settings).items():
        tree.write(path, text)
    for path, target in outer.host_links().items():
        tree.parents(path)
        (tree.upper / path).symlink_to(target)
    tree.write_authorized_keys(public_key)
    key = tree.parents("etc/ssh/ssh_host_ed25519_key")
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", f"root@{machine.host.name}", "-f", str(key)]
    subprocess.run(command, check=True)
    for directory in packages.DIRECTORIES:
        tree.parents(f"{directory}/file")
    packages.seed(machine.host.release, tree.upper)
    remember(machine)


def remember(machine: Machine) -> None:
    """Write a host's record, which makes its disk one that counts."""
    record = {"host": dataclasses.asdict(machine.host), "image": str(machine.image)}
    partial = machine.disk / ".host.json"
    partial.write_text(json.dumps(record, indent=1))
    partial.rename(machine.disk / "host.json")


def authorize(machine: Machine, public_key: str) -> None:
    """Let a key log in, whether the host runs or not."""
    if (pid := init_pid(machine)) is not None:
        _Tree(Path(f"/proc/{pid}/root"), machine.image).write_authorized_keys(public_key)
    else:
        _Tree(machine.disk / "upper", machine.image).write_authorized_keys(public_key)


def start(machine: Machine) -> subprocess.Popen[bytes]:
    """Boot a stopped host under a supervisor of its own; returns at once."""
    host = machine.host
    machine.console.parent.mkdir(parents=True, exist_ok=True)
    arguments = [
        machine.nspawn, host.name, network.bridge(machine.network),
        str(machine.image), str(machine.disk), f"{cgroups.TOP}/{machine.cgroup}",
    ]  # fmt: skip
    with machine.console.open("wb") as console:
        return subprocess.Popen(
            ["unshare", "--mount", "--propagation", "private", "bash", _SUPERVISOR, *arguments],
            stdin=subprocess.DEVNULL, stdout=console, stderr=console, cwd="/", start_new_session=True,
            preexec_fn=cgroups.entering(machine.cgroup, host.cpus),
        )  # fmt: skip


def pull_the_plug(machine: Machine) -> None:
    """Kill all of a host at once and forget its cgroup; fine when it does not run.

    The network first: a host without power says no farewell to those it is connected with, as the kernel would here.
    """
    network.unplug(machine.network, machine.nspawn)
    cgroups.kill(machine.cgroup)
    cgroups.remove(machine.cgroup)
    network.cut_connections([machine.host.address])


def power_off(machine: Machine, patience: float = 60.0) -> None:
    """Shut a running host down in good order.

    Raises LabError when it is still up after `patience` seconds.
    """
    _signal(machine, _POWER_OFF)
    if not _within(patience, lambda: not cgroups.populated(machine.cgroup)):
        raise LabError(f"{machine.host.name} does not power off ({machine.console}): use stop --hard.")
    cgroups.remove(machine.cgroup)


def reboot(machine: Machine, patience: float = 60.0) -> None:
    """Have a running host reboot, and return when it has begun to boot again.

    Raises LabError when it has not after `patience` seconds.
    """
    before = _signal(machine, _REBOOT)
    if not _within(patience, lambda: init_pid(machine) not in (None, before)):
        raise LabError(f"{machine.host.name} does not reboot. Its console ({machine.console}):\n{tail(machine)}")


def init_pid(machine: Machine) -> int | None:
    """The process that is PID 1 of a running host."""
    for pid in cgroups.processes(f"{machine.cgroup}/machine"):
        try:
            status = Path(f"/proc/{pid}/status").read_text()
        except OSError:  # gone meanwhile
            continue
        if re.search(r"^NSpid:.*\t\d+\t1$", status, re.MULTILINE):
            return pid
    return None


def wait_for_ssh(machines: list[Machine], patience: float = 60.0) -> None:
    """Wait until every host's sshd answers.

    Raises LabError with the end of the console logs of those that do not in `patience` seconds, or that ended.
    """
    deadline = time.monotonic() + patience
    with ThreadPoolExecutor(max_workers=max(len(machines), 1)) as pool:
        answers = list(pool.map(lambda machine: _ssh_answers(machine, deadline), machines))
    if silent := [machine for machine, answered in zip(machines, answers, strict=True) if not answered]:
        texts = [f"{m.host.name} ({m.state}) does not answer on {m.host.address}:22. Its console, {m.console}, ends:\n"
                 f"{tail(m)}" for m in silent]  # fmt: skip
        raise LabError("\n".join(texts))


def tail(machine: Machine, lines: int = 15) -> str:
    """The last lines of a host's console."""
    text = machine.console.read_text(errors="replace") if machine.console.exists() else ""
    return "\n".join(text.splitlines()[-lines:])


def _ssh_answers(machine: Machine, deadline: float) -> bool:
    """One banner is enough: sshd of Debian 13 shuts out who asks for more."""
    while time.monotonic() < deadline and machine.state == "running":
        try:
            with socket.create_connection((machine.host.address, 22), timeout=1) as connection:
                connection.settimeout(max(deadline - time.monotonic(), 1))
                if connection.recv(4) == b"SSH-":
                    return True
        except OSError:
            pass
        time.sleep(0.05)
    return False


def _signal(machine: Machine, number: int) -> int:
    """Signal PID 1 of a host, and return its process id outside."""
    if machine.state != "running" or (pid := init_pid(machine)) is None:
        raise LabError(f"{machine.host.name} does not run: start it first.")
    os.kill(pid, number)
    return pid


def _within(seconds: float, condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def _identity(machine: Machine) -> dict[str, str]:
    """The files that make a host this host and no other."""
    host, files = machine.host, {}
    files["etc/hostname"] = f"{host.name}\n"
    files["etc/hosts"] = (machine.image / "etc/hosts").read_text() + f"{host.address} {host.name}\n"
    files["etc/machine-id"] = f"{uuid.uuid4().hex}\n"
    # Before systemd's own 80-container-host0.network, which would ask for an address.
    files["etc/systemd/network/10-lab.network"] = (
        f"[Match]\nName=host0\n\n[Network]\nAddress={host.address}/24\nGateway={network.gateway(machine.network)}\n"
        "LinkLocalAddressing=no\nIPv6AcceptRA=no\n"
    )
    # An sshd that answers earlier refuses everybody but root: the system is booting up.
    files["etc/systemd/system/ssh.service.d/lab.conf"] = "[Unit]\nAfter=systemd-user-sessions.service\n"
    if host.release != "bookworm":
        # OpenSSH 9.8 and later shut out who connects often, as tests do; earlier ones refuse the option.
        files["etc/ssh/sshd_config.d/90-lab.conf"] = f"PerSourcePenaltyExemptList {machine.network}\n"
    return files


@dataclass(frozen=True)
class _Tree:
    """The writable side of a host's file system, over its image."""

    upper: Path
    image: Path

    def parents(self, path: str) -> Path:
        """Make the directories above a file, with the owners and modes they have in the image."""
        target = self.upper / path
        for parent in reversed(Path(path).parents):
            directory = self.upper / parent
            if not directory.exists():
                directory.mkdir()
                if (original := self.image / parent).is_dir():
                    shutil.copystat(original, directory)
                    os.chown(directory, original.stat().st_uid, original.stat().st_gid)
        return target

    def write(self, path: str, text: str) -> None:
        """Write a file that root owns and all may read."""
        self.parents(path).write_text(text)

    def write_authorized_keys(self, public_key: str) -> None:
        """Write the login user's authorized_keys."""
        account = re.search(rf"^{LOGIN_USER}:[^:]*:(\d+):(\d+):", (self.image / "etc/passwd").read_text(), re.MULTILINE)
        assert account
        file = self.parents(f"home/{LOGIN_USER}/.ssh/authorized_keys")
        file.write_text(f"{public_key}\n")
        for path, mode in ((file.parent, 0o700), (file, 0o600)):
            os.chown(path, int(account[1]), int(account[2]))
            path.chmod(mode)
