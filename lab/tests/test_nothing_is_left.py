"""`down` leaves the machine as it was, whatever happened before."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lab.tests.conftest import REPOSITORY, Trial, eventually, make_trial

AS_ROOT = () if os.geteuid() == 0 else ("sudo", "-n", "--")
# These kill the lab's engine in the middle of its work. For another user sudo runs it, and does not die with the front.
runs_the_privileged_half = pytest.mark.skipif(
    os.geteuid() != 0, reason="kills the lab's engine, which is out of reach behind sudo: run the tests as root"
)
ONE = "alone: {ansible_host: [11]}"


def traces(*subnets: str) -> dict[str, set[str]]:
    """All that labs on these subnets have on the machine, by kind."""
    marks = [mark for subnet in subnets for mark in (subnet, subnet.replace(".", "-"), subnet.replace(".", "_"))]
    pattern = re.compile("|".join(f"(?<![0-9]){re.escape(mark)}(?![0-9])" for mark in marks))
    listings = {
        "processes": _output("ps", "-ewwo", "args"),
        "links": _output("ip", "-brief", "link"),
        "routes": _output("ip", "route", "show", "table", "all"),
        "tables": _output(*AS_ROOT, "nft", "list", "ruleset"),
        "mounts": Path("/proc/self/mounts").read_text(),
        "namespaces": "\n".join(_mounts_of_all_processes()),
        "cgroups": "\n".join(str(path) for path in Path("/sys/fs/cgroup").glob("**/hugproof-lab/*")),
        "files": "\n".join(
            str(path)
            for top in ("/var/lib/hugproof-lab", "/run/hugproof-lab", f"{REPOSITORY}/.lab")
            for path in Path(top).glob("*")
        ),
    }
    found = {kind: {line for line in text.splitlines() if pattern.search(line)} for kind, text in listings.items()}
    found["processes"] = {line for line in found["processes"] if "host.sh" in line or "nspawn" in line}
    return {kind: lines for kind, lines in found.items() if lines}


def _mounts_of_all_processes() -> set[str]:
    found: set[str] = set()
    for mounts in Path("/proc").glob("[0-9]*/mounts"):
        try:
            found.update(line for line in mounts.read_text().splitlines() if line.startswith("lab-"))
        except OSError:
            continue
    return found


def _output(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def _sysctls() -> list[str]:
    names = ("net/ipv4/ip_forward", "fs/inotify/max_user_instances")
    return [Path("/proc/sys", name).read_text() for name in names]


def _other_labs() -> bool:
    return any(Path("/var/lib/hugproof-lab").glob("*/*"))


@pytest.fixture
def lab(tmp_path: Path) -> Trial:
    return make_trial(tmp_path, "10.45.10", ONE)


def test_two_labs_side_by_side_come_and_go_without_a_trace(tmp_path: Path) -> None:
    labs = [make_trial(tmp_path, subnet, ONE) for subnet in ("10.45.10", "10.45.11")]
    alone, before = not _other_labs(), _sysctls()
    ups = [subprocess.Popen(lab.command("up"), cwd=REPOSITORY) for lab in labs]
    try:
        assert [up.wait(timeout=200) for up in ups] == [0, 0]
        keys = {_output("ssh", "-F", f"{REPOSITORY}/.lab/ssh_config", f"{lab.subnet}.11", "cat /etc/machine-id")
                for lab in labs}  # fmt: skip
        assert len(keys) == 2
        assert traces("10.45.10").keys() >= {"processes", "links", "namespaces", "cgroups", "files"}
        labs[0].run("down")
        assert traces("10.45.10") == {}
        assert _output("ssh", "-F", f"{REPOSITORY}/.lab/ssh_config", "10.45.11.11", "hostname") == "alone\n"
    finally:
        downs = [subprocess.Popen(lab.command("down"), cwd=REPOSITORY) for lab in labs]
        assert [down.wait(timeout=60) for down in downs] == [0, 0]
    assert traces("10.45.10", "10.45.11") == {}
    if alone and not _other_labs():
        assert _sysctls() == before
        assert not Path("/sys/fs/cgroup/unified/hugproof-lab").exists()


def test_down_of_a_lab_that_never_was_up_is_fine(lab: Trial) -> None:
    assert "No lab was up in 10.45.10.0/24" in lab.run("down").stderr
    assert traces("10.45.10") == {}


@runs_the_privileged_half
@pytest.mark.parametrize("moment", ["lab.json", "alone/upper", "alone/host.json", "alone/.#root.lck"])
def test_up_killed_in_the_middle_leaves_nothing_that_up_or_down_can_not_deal_with(lab: Trial, moment: str) -> None:
    disks = Path("/var/lib/hugproof-lab/10.45.10.0")
    for command in ("up", "down"):
        up = subprocess.Popen(lab.command("up"), cwd=REPOSITORY, stderr=subprocess.DEVNULL)
        try:
            deadline = time.monotonic() + 60
            while not (disks / moment).exists() and time.monotonic() < deadline:
                pass
        finally:
            up.send_signal(signal.SIGKILL)
            up.wait()
        assert (disks / moment).exists()
        try:
            lab.run(command)
            if command == "up":
                assert lab.state("alone") == "running"
        finally:
            lab.run("down")
        assert traces("10.45.10") == {}


def test_down_removes_hosts_whose_supervisors_were_killed(lab: Trial) -> None:
    lab.run("up")
    lab.run("cut", "alone")
    assert len(traces("10.45.10")["tables"]) > 1
    try:
        for line in _output("ps", "-ewwo", "pid,args").splitlines():
            if re.search(r"(host\.sh|systemd-nspawn).*10-45-10", line):
                _output(*AS_ROOT, "kill", "-KILL", line.split()[0])
    finally:
        lab.run("down")
    assert traces("10.45.10") == {}
    lab.run("down")


def test_a_subnet_that_the_machine_uses_otherwise_is_refused(lab: Trial) -> None:
    _output(*AS_ROOT, "ip", "link", "add", "labtrial", "type", "bridge")
    try:
        _output(*AS_ROOT, "ip", "address", "add", "10.45.10.7/20", "dev", "labtrial")
        _output(*AS_ROOT, "ip", "link", "set", "labtrial", "up")
        text = lab.run("up", expect=1).stderr
        assert "labtrial already reaches 10.45.0.0/20, which overlaps the lab's 10.45.10.0/24" in text
    finally:
        _output(*AS_ROOT, "ip", "link", "delete", "labtrial")
    lab.run("down")


def test_hosts_get_through_a_firewall_that_drops_what_is_forwarded(lab: Trial) -> None:
    chain = (
        "add table inet labtrial; add chain inet labtrial forward {type filter hook forward priority 0; policy drop;}"
    )
    # Of this lab alone: where bridges are filtered as well, it would cut the hosts of every other lab off each other.
    chain += '; add rule inet labtrial forward iifname != "hp10-45-10" oifname != "hp10-45-10" accept comment "others"'
    _output(*AS_ROOT, "nft", chain)
    try:
        lab.run("up")
        lab.ssh("alone", "sudo apt-get -qq -o APT::Update::Error-Mode=any update")
        lab.run("down")
        rules = _output(*AS_ROOT, "nft", "list", "table", "inet", "labtrial")
        assert [line for line in rules.splitlines() if "accept" in line and "others" not in line] == []
    finally:
        _output(*AS_ROOT, "nft", "delete", "table", "inet", "labtrial")
        lab.run("down")


def test_a_lab_that_a_removed_clone_left_running_is_taken_over(lab: Trial, tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    clone.mkdir()
    subprocess.run(["cp", "-r", REPOSITORY / "lab", clone], check=True)
    subprocess.run(lab.command("up"), cwd=clone, check=True)
    try:
        subprocess.run(["rm", "-r", clone], check=True)
        assert f"Removing what is left of the lab 10.45.10.0/24 of {clone}" in lab.run("up").stderr
        assert lab.ssh("alone", "hostname") == "alone"
    finally:
        lab.run("down")
    assert traces("10.45.10") == {}


def test_a_clone_whose_key_was_lost_gets_back_in(lab: Trial, tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    clone.mkdir()
    subprocess.run(["cp", "-r", REPOSITORY / "lab", clone], check=True)
    try:
        for _ in ("first", "again"):
            subprocess.run(["rm", "-rf", clone / ".lab"], check=True)
            subprocess.run(lab.command("up"), cwd=clone, check=True)
            assert _output("ssh", "-F", f"{clone}/.lab/ssh_config", "alone", "hostname") == "alone\n"
    finally:
        subprocess.run(lab.command("down"), cwd=clone, check=True)


def test_a_package_is_downloaded_once_for_all_hosts_to_come(lab: Trial) -> None:
    try:
        for how in ("", "--no-download"):
            lab.run("up")
            lab.ssh("alone", f"sudo apt-get -qq update && sudo apt-get -qq -y {how} install hello && hello")
            lab.run("down")
    finally:
        lab.run("down")


@runs_the_privileged_half
def test_a_build_that_was_killed_is_cleaned_up_by_the_next_down(lab: Trial) -> None:
    build = "from lab import images; images._RECIPE = (*images._RECIPE, '--components=main'); images.ensure('trixie')"
    builder = subprocess.Popen([sys.executable, "-c", build], cwd=REPOSITORY, stderr=subprocess.DEVNULL)

    def unfinished() -> list[Path]:
        return list(Path("/var/cache/hugproof-lab/images").glob(".*.unfinished/var/cache/apt"))

    try:
        eventually(unfinished)
    finally:
        builder.kill()
        builder.wait()
    lab.run("down")
    assert not unfinished()
    assert not list(Path("/run/hugproof-lab").glob("*.log"))
    listing = _output("ps", "-ewwo", "stat,args").splitlines()
    assert not [line for line in listing if "mmdebstrap" in line and not line.startswith("Z")]
