"""What a user of a running lab relies on, tried on real hosts."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.tests.conftest import REPOSITORY, Trial, eventually, make_trial

SPIN = "import time; end = time.time() + 2\nwhile time.time() < end: pass\nprint(time.process_time())"
BOOT_ID = "cat /proc/sys/kernel/random/boot_id"
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="kills processes of root")


def states(trial: Trial) -> dict[str, str]:
    rows = json.loads(trial.run("status", "--json").stdout)["hosts"]
    return {row["name"]: row["state"] for row in rows}


def supervisor(trial: Trial, host: str) -> int:
    listing = subprocess.run(["ps", "-ewwo", "pid,args"], capture_output=True, text=True, check=True).stdout
    [pid] = [line.split()[0] for line in listing.splitlines() if f"host.sh {host}-" in line and trial.subnet in line]
    return int(pid)


def cpu_seconds_of_two(trial: Trial) -> float:
    """How much CPU time the first host gets in two seconds."""
    return float(trial.ssh("one", f"python3 -c '{SPIN}'"))


@pytest.mark.parametrize("host", ["one", "two"])
def test_a_host_is_up_entirely_and_its_login_user_can_become_root(trial: Trial, host: str) -> None:
    assert trial.ssh(host, "hostname; id -un; sudo id -un").split() == [host, "debian", "root"]
    assert trial.state(host) == "running"
    assert trial.ssh(host, "systemctl --failed --no-legend") == ""


@pytest.mark.parametrize(("host", "codename"), [("one", "trixie"), ("two", "bookworm")])
def test_a_host_is_of_the_release_that_the_inventory_names(trial: Trial, host: str, codename: str) -> None:
    assert f"VERSION_CODENAME={codename}" in trial.ssh(host, "cat /etc/os-release").splitlines()


@pytest.mark.parametrize("host", ["one", "two"])
def test_a_host_reaches_the_archive_and_the_other_hosts(trial: Trial, host: str) -> None:
    assert "W:" not in trial.ssh(host, "sudo apt-get -q -o APT::Update::Error-Mode=any update 2>&1")
    other = {"one": "two", "two": "one"}[host]
    address = {"one": "10.45.9.11", "two": "10.45.9.12"}[other]
    assert trial.ssh(host, f"timeout 5 bash -c 'head -c4 </dev/tcp/{address}/22'") == "SSH-"


def test_a_host_sees_only_its_own_processes(trial: Trial) -> None:
    # In a host's own PID namespace the processes of others have the number 0.
    listed = trial.ssh("one", "sudo find /sys/fs/cgroup -name cgroup.procs -exec cat {} +").split()
    assert "1" in listed
    assert "0" not in listed


def test_a_host_gets_no_more_than_its_share_of_cpu_time(trial: Trial) -> None:
    assert cpu_seconds_of_two(trial) < 1.3


def test_up_leaves_running_hosts_alone(trial: Trial) -> None:
    before = trial.ssh("one", BOOT_ID)
    begin = time.monotonic()
    assert "Running already: one, two." in trial.run("up").stderr
    # Two seconds on an idle machine, of which Ansible's reading of the inventory takes one.
    assert time.monotonic() - begin < 6
    assert trial.ssh("one", BOOT_ID) == before


def test_reboot_boots_again_and_returns_when_the_host_answers(trial: Trial) -> None:
    before = trial.ssh("one", f"touch kept; {BOOT_ID}")
    trial.run("reboot", "one")
    assert trial.ssh("one", f"ls kept; {BOOT_ID}") not in ("", f"kept\n{before}")


def test_a_host_that_reboots_itself_comes_back(trial: Trial) -> None:
    before = trial.ssh("two", BOOT_ID)
    subprocess.run(["ssh", "-F", REPOSITORY / ".lab/ssh_config", "two", "sudo systemctl reboot"], capture_output=True)

    def back() -> bool:
        argv = ["ssh", "-F", str(REPOSITORY / ".lab/ssh_config"), "-o", "ConnectTimeout=1", "two", BOOT_ID]
        done = subprocess.run(argv, capture_output=True, text=True)
        return done.returncode == 0 and done.stdout.strip() != before

    eventually(back)


@pytest.mark.parametrize("how", [[], ["--hard"]])
def test_a_stopped_host_keeps_its_disk_and_its_identity(trial: Trial, how: list[str]) -> None:
    before = trial.ssh("one", "echo content > kept; sync; cat /etc/machine-id /sys/class/net/host0/address")
    trial.run("stop", *how, "one")
    assert states(trial) == {"one": "stopped", "two": "running"}
    trial.run("stop", "one")
    trial.run("start", "one")
    assert trial.ssh("one", "cat kept") == "content"
    assert trial.ssh("one", "cat /etc/machine-id /sys/class/net/host0/address") == before


def test_a_host_that_was_removed_comes_back_bare_and_the_others_stay(trial: Trial) -> None:
    identity = "touch kept; cat /etc/machine-id"
    lost, other = trial.ssh("one", identity), trial.ssh("two", identity)
    trial.run("remove", "one")
    assert states(trial) == {"one": "absent", "two": "running"}
    assert "one: never up in the lab" in trial.run("remove", "one", expect=1).stderr
    trial.run("up")
    assert trial.ssh("one", "ls; cat /etc/machine-id") not in ("", lost)
    assert "kept" not in trial.ssh("one", "ls")
    assert trial.ssh("two", "ls; cat /etc/machine-id") == f"kept\n{other}"


@needs_root
def test_up_recovers_a_host_whose_supervisor_was_killed(trial: Trial) -> None:
    before = trial.ssh("one", f"touch survivor; sync; {BOOT_ID}")
    os.kill(supervisor(trial, "one"), signal.SIGKILL)
    eventually(lambda: states(trial)["one"] == "orphaned")
    assert "one runs without its supervisor" in trial.run("up").stderr
    assert trial.ssh("one", f"ls survivor; {BOOT_ID}").splitlines()[1] != before
    assert states(trial)["one"] == "running"


@needs_root
def test_nothing_of_a_host_goes_on_when_its_nspawn_is_killed(trial: Trial) -> None:
    pid = supervisor(trial, "two")
    [child] = [int(pid) for pid in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    os.kill(child, signal.SIGKILL)
    eventually(lambda: states(trial)["two"] == "stopped")
    trial.run("up")
    assert trial.ssh("two", "hostname") == "two"


def test_a_changed_cpu_limit_is_taken_over_and_a_changed_address_refused(trial: Trial, tmp_path: Path) -> None:
    two = "two: {ansible_host: [12], lab_release: bookworm}"
    make_trial(tmp_path, "10.45.9", f"one: {{ansible_host: [11], lab_cpus: 0.25}}, {two}").run("up")
    assert cpu_seconds_of_two(trial) < 0.8
    moved = make_trial(tmp_path, "10.45.9", f"one: {{ansible_host: [13]}}, {two}").run("up", expect=1)
    assert "one was made as 10.45.9.11, trixie; the inventory now says 10.45.9.13" in moved.stderr


def test_one_of_two_clones_has_the_subnet(trial: Trial, tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    clone.mkdir()
    subprocess.run(["cp", "-r", REPOSITORY / "lab", clone], check=True)
    refused = subprocess.run(trial.command("up"), cwd=clone, capture_output=True, text=True)
    assert refused.returncode == 1
    assert f"up for another clone, {REPOSITORY}: take it down there" in refused.stderr
    left = subprocess.run(trial.command("down"), cwd=clone, capture_output=True, text=True)
    assert left.returncode == 0
    assert "left alone" in left.stderr
    assert trial.ssh("one", "hostname") == "one"


def test_the_url_is_that_of_the_rung_that_answers(trial: Trial, tmp_path: Path) -> None:
    inventory = tmp_path / "hosts.yml"
    inventory.write_text(
        "all: {children: {edge: {hosts: {one: {ansible_host: 10.45.9.11}}},"
        " web: {hosts: {two: {ansible_host: 10.45.9.12, lab_release: bookworm}}}}}\n"
    )
    site = Trial(inventory, trial.subnet)
    assert "one on 10.45.9.11:443" in site.run("url", expect=1).stderr
    for host, port, url in (("two", 8000, "http://10.45.9.12:8000/"), ("one", 443, "https://10.45.9.11/")):
        trial.ssh(host, f"sudo systemd-run --quiet python3 -m http.server {port}")
        eventually(lambda url=url: _stdout(site.command("url")) == f"{url}\n")  # type: ignore[misc]


def _stdout(command: list[str]) -> str:
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True).stdout


ADDRESSES = {"one": "10.45.9.11", "two": "10.45.9.12"}


def hears(trial: Trial, host: str, other: str) -> bool:
    """Whether a host gets an answer from another's sshd; the machine itself is none of the hosts."""
    asked = ["bash", "-c", f"head -c4 </dev/tcp/{ADDRESSES[other]}/22"]
    if host != "machine":
        asked = [
            "ssh",
            "-F",
            str(REPOSITORY / ".lab/ssh_config"),
            host,
            f"bash -c 'head -c4 </dev/tcp/{ADDRESSES[other]}/22'",
        ]
    try:
        done = subprocess.run(asked, capture_output=True, text=True, timeout=3)
    except subprocess.TimeoutExpired:
        return False
    return done.stdout == "SSH-"


@pytest.fixture
def mended(trial: Trial) -> Iterator[None]:
    yield
    trial.run("mend")


def test_a_host_that_is_cut_off_hears_and_is_heard_by_nobody_until_it_is_mended(trial: Trial, mended: None) -> None:
    before = trial.ssh("one", BOOT_ID)
    # Says so once a second into a file, whoever listens.
    listens = "import socket; s = socket.create_server(('', 9000)); c, _ = s.accept(); print(c.recv(9), flush=True)"
    trial.ssh("one", f'sudo systemd-run --quiet --property=StandardOutput=file:/heard python3 -c "{listens}"')
    eventually(lambda: "9000" in trial.ssh("one", "ss --no-header --listening --tcp"))
    with socket.create_connection((ADDRESSES["one"], 9000)) as kept:
        trial.run("cut", "one")
        assert states(trial) == {"one": "cut", "two": "running"}
        assert not hears(trial, "machine", "one")
        assert not hears(trial, "two", "one")
        assert hears(trial, "machine", "two")
        for command in ("up", "start", "reboot"):
            refused = trial.run(command, *([] if command == "up" else ["one"]), expect=1)
            assert "one: cut off the network. `mend` first." in refused.stderr
        kept.sendall(b"patience")
        trial.run("mend")
        assert states(trial) == {"one": "running", "two": "running"}
        eventually(lambda: trial.ssh("one", "cat /heard") == "b'patience'")
    assert hears(trial, "two", "one")
    assert trial.ssh("one", BOOT_ID) == before


def test_hosts_may_be_cut_off_from_each_other_alone(trial: Trial, mended: None) -> None:
    trial.run("cut", "one", "--from", "two")
    assert hears(trial, "machine", "one")
    assert hears(trial, "machine", "two")
    assert not hears(trial, "one", "two")
    assert not hears(trial, "two", "one")
    rows = json.loads(trial.run("status", "--json").stdout)["hosts"]
    assert [(row["state"], row["cut_from"]) for row in rows] == [("running", ["two"]), ("running", ["one"])]
    assert "running, cut off from two" in trial.run("status").stdout
    trial.run("mend")
    assert hears(trial, "one", "two")


def test_a_cut_outlasts_a_reboot(trial: Trial, mended: None) -> None:
    """The host's link is another one then, of the same name."""
    before = trial.ssh("one", BOOT_ID)
    trial.run("cut", "one", "--from", "two")
    trial.run("reboot", "one")
    assert trial.ssh("one", BOOT_ID) != before
    assert not hears(trial, "one", "two")


def test_what_can_not_be_cut_is_told(trial: Trial, mended: None) -> None:
    assert "has no host three; it has one, two" in trial.run("cut", "three", expect=1).stderr
    assert "one: on both sides of the cut" in trial.run("cut", "one", "two", "--from", "one", expect=1).stderr
    trial.run("stop", "two")
    try:
        assert "two: not running, so there is no cable to pull" in trial.run("cut", "one", "two", expect=1).stderr
        assert states(trial) == {"one": "running", "two": "stopped"}
    finally:
        trial.run("start", "two")


def test_a_host_boots_right_after_its_plug_was_pulled(trial: Trial) -> None:
    for _ in range(5):
        trial.run("stop", "--hard", "two")
        trial.run("start", "two")
    assert trial.ssh("two", "hostname") == "two"
