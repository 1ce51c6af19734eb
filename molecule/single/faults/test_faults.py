"""What a user can get wrong, and what can happen to him: told in his terms, and the site goes on serving."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from loadtest.plays import run, start
from loadtest.target import BIN

from support.cluster import PROJECT, variant
from support.site import Site
from support.wait import eventually

KEPT = "/var/cache/hugproof/ansible"
HOLD_LOCK = """
import fcntl, signal
file = open("/var/lib/dpkg/lock-frontend", "w")
fcntl.lockf(file, fcntl.LOCK_EX)
signal.pause()
"""


@contextmanager
def running(site: Site, *command: str) -> Iterator[None]:
    """A command runs on the host as a unit of its own."""
    words = " ".join(["%s"] * len(command))
    site.host.check_output(f"systemd-run --quiet --collect --unit=intruder {words}", *command)
    try:
        yield
    finally:
        site.host.run("systemctl stop intruder")


def test_a_host_that_can_not_be_reached_leaves_the_others_alone(site: Site, tmp_path: Path, unharmed: None) -> None:
    ghost = "        ghost1: {ansible_host: 10.44.2.99}\n"
    inventory = variant(site.cluster, tmp_path, "    web:\n      hosts:\n", ghost)
    done = run("site.yml", inventory).failed()
    assert "ghost1" in done.changed
    assert "UNREACHABLE" in done.output
    assert done.changed["site1"] == 0


def test_a_release_of_debian_that_is_not_supported(site: Site, unharmed: None) -> None:
    """The host really says so, in the files that its programs read."""
    site.host.check_output("sed 's/12/11/g; s/bookworm/bullseye/g' /usr/lib/os-release > /run/os-release")
    site.host.check_output("echo 11.11 > /run/debian_version")
    try:
        site.host.check_output("mount --bind /run/os-release /usr/lib/os-release")
        site.host.check_output("mount --bind /run/debian_version /etc/debian_version")
        done = site.converge().failed()
    finally:
        site.host.run("umount /usr/lib/os-release; umount /etc/debian_version")
    assert "site1 runs Debian 11" in done.words
    assert "supported are Debian 12 and 13" in done.words


def test_an_application_without_a_wsgi_callable(site: Site, application: Path, unswitched: None) -> None:
    (application / "config" / "wsgi.py").write_text("nothing = None\n")
    done = site.converge(app_source=str(application)).failed()
    assert "config.wsgi has no callable named application" in done.words


def test_an_application_that_can_not_be_imported(site: Site, application: Path, unswitched: None) -> None:
    (application / "config" / "wsgi.py").write_text("import no_such_module\n")
    done = site.converge(app_source=str(application)).failed()
    assert "No module named 'no_such_module'" in done.words


def test_requirements_that_do_not_install(site: Site, application: Path, unharmed: None) -> None:
    (application / "requirements.txt").write_text("no-such-package-of-hugproof==1.0\n")
    done = site.converge(app_source=str(application)).failed()
    assert "no-such-package-of-hugproof" in done.words
    assert "app_requirements is 'requirements.txt'" in done.words
    assert "which can't be installed on Python 3.11" in done.words


def test_an_nginx_option_that_nginx_refuses(site: Site, unharmed: None) -> None:
    done = site.converge(nginx_lb_server_options=["no_such_directive on;"]).failed()
    assert "unknown directive" in done.words
    assert "no_such_directive" in done.words


def test_a_varnish_option_that_makes_no_sense(site: Site, unharmed: None) -> None:
    done = site.converge(varnish_edge_ttl="soon").failed()
    assert "Durations (soon" in done.words


def test_a_varnish_option_that_the_vcl_compiler_refuses(site: Site, unharmed: None) -> None:
    """It looks right to the role: only Varnish itself knows."""
    done = site.converge(varnish_edge_backend="run/relative.sock").failed()
    assert "Backend path: Must be an absolute path" in done.words


def test_another_version_of_postgresql_is_refused_while_there_is_data(site: Site, unharmed: None) -> None:
    done = site.converge(postgres_version=13).failed()
    assert "site1 has a PostgreSQL 15 cluster with data, and postgres_version is 13" in done.words
    assert site.host.check_output("pg_lsclusters --no-header | wc -l") == "1"


def test_a_port_that_somebody_else_holds(site: Site) -> None:
    site.host.check_output("systemctl stop nginx")
    try:
        with running(site, "python3", "-m", "http.server", "80"):
            eventually(lambda: site.host.socket("tcp://0.0.0.0:80").is_listening)
            holder = site.host.check_output("systemctl show --property=MainPID --value intruder")
            done = site.converge().failed()
    finally:
        site.host.check_output("systemctl start nginx")
    assert "Port 80/tcp of site1 is needed for HTTP but held by python3" in done.words
    assert f"pid {holder}" in done.words
    assert done.changed["site1"] == 0
    eventually(site.answers)


def test_an_apt_lock_that_is_not_released_in_time_is_told(site: Site) -> None:
    with running(site, "python3", "-c", HOLD_LOCK):
        done = site.converge(base_packages=["tree"], site_apt_lock_timeout=2).failed()
    assert "lock" in done.words
    assert "/var/lib/dpkg/lock-frontend" in done.words
    assert not site.host.package("tree").is_installed


def test_an_apt_lock_is_waited_for(site: Site) -> None:
    """As on a new cloud host, whose first update is still at work."""
    with running(site, "python3", "-c", HOLD_LOCK):
        waiting = start("site.yml", site.cluster.inventory, base_packages=["tree"])
        eventually(lambda: site.host.process.filter(comm="apt-get"), limit=120)
    output, _ = waiting.communicate()
    assert waiting.returncode == 0, output[-6000:]
    assert site.host.package("tree").is_installed


def test_a_firewall_that_locks_ssh_out_opens_again(site: Site) -> None:
    """The next run is let in, and closes it again."""
    done = site.converge(base_ssh_sources=["192.0.2.1"]).failed()
    assert "A new connection gets through the firewall" in done.output
    eventually(lambda: socket.create_connection((site.cluster.edge, 22), timeout=5), limit=120).close()
    assert site.converge().succeeded().changed["site1"] > 0
    assert "policy drop;" in site.host.check_output("nft list chain inet hugproof input")
    assert site.answers()


def test_bytecode_that_is_broken_or_lost_is_made_anew(site: Site) -> None:
    """A command that a task runs sees nothing of where it is kept."""
    ask = [str(BIN / "ansible"), "-i", str(site.cluster.inventory), "site1", "--become", "-m", "command", "-a", "env"]
    for harm in ("for file in *; do echo broken >$file; done", "truncate --size=0 *", "rm *"):
        site.host.check_output(f"cd {KEPT} && {harm}")
        asked = subprocess.run(ask, capture_output=True, text=True)
        assert asked.returncode == 0, asked.stdout + asked.stderr
        assert "SUDO_USER=debian" in asked.stdout
        assert "PYTHON" not in asked.stdout
        assert site.host.check_output(f"find {KEPT} -size +1k") != ""


def test_the_applications_own_tests_pass_against_the_hosts_servers(site: Site) -> None:
    """On this Python, this PostgreSQL, this memcached; as the database's own administrator, who may make databases."""
    archive = subprocess.run(
        ["tar", "--create", "--directory", str(PROJECT / "app"), "--exclude=__pycache__", "."],
        capture_output=True, check=True,
    ).stdout  # fmt: skip
    address = site.cluster.addresses["site1"]
    config = str(site.cluster.state.parent / "ssh_config")
    subprocess.run(
        ["ssh", "-F", config, f"debian@{address}", "sudo rm -rf /opt/suite && sudo install -d -o postgres /opt/suite "
         "&& sudo -u postgres tar --extract --no-same-owner --directory /opt/suite"],
        input=archive, check=True,
    )  # fmt: skip
    site.host.check_output(
        "cd /opt/suite && sudo -u postgres env HOME=/opt/suite sh -c "
        "'python3 -m venv .venv && .venv/bin/pip install --quiet --requirement requirements-test.txt'"
    )
    done = site.host.run(
        "cd /opt/suite && sudo -u postgres env PGHOST=/var/run/postgresql "
        f"MEMCACHED_SERVERS={address}:11211 .venv/bin/python -m pytest -q -p no:cacheprovider"
    )
    print(done.stdout[-4000:], done.stderr[-2000:])
    assert done.rc == 0
    assert " passed" in done.stdout.splitlines()[-1]
    assert "skipped" not in done.stdout.splitlines()[-1]
