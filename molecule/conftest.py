"""Fixtures of all scenarios, and what the hosts logged beside every failure."""

from __future__ import annotations

import secrets
import subprocess
from collections.abc import Callable, Generator
from pathlib import Path

import pytest
import testinfra
from testinfra.host import Host

from support import cluster as clusters
from support.cluster import APPLICATION, PROJECT, Account, Cluster, manage
from support.traffic import Visitors, visitors
from support.wait import eventually
from support.web import Browser

JOURNAL_UNITS = (
    APPLICATION, f"{APPLICATION}-*", "nginx", "varnish*", "memcached", "pgbouncer", "postgresql@*", "patroni@*", "etcd",
    "keepalived", "pgbackrest*", "hugproof-*", "systemd-sysctl",
)  # fmt: skip


def _hosts(config: pytest.Config) -> dict[str, Host]:
    inventory = config.getoption("ansible_inventory")
    found = testinfra.get_hosts(["all"], connection="ansible", ansible_inventory=inventory, sudo=True)
    return {host.backend.host: host for host in found}


JOURNAL_LINES = 30
SUITE_LIMIT = 600  # seconds


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed:
        units = " ".join(f"--unit={unit!r}" for unit in JOURNAL_UNITS)
        concerned = getattr(item, "funcargs", {}).get("host")
        for name, host in _hosts(item.config).items():
            if concerned is None or concerned.backend.host == name:
                report.sections.append((f"Journal of {name}", _journal(host, units)))
    return report


def _journal(host: Host, units: str) -> str:
    try:
        asked = host.run(
            # Not its own --lines, which with --since are the first ones.
            f"journalctl --no-pager --quiet --since=-1min {units} | tail --lines={JOURNAL_LINES};"
            f" tail --lines={JOURNAL_LINES} --quiet /var/log/nginx/error.log 2>/dev/null"
        )
    except RuntimeError as error:  # testinfra's, when ssh does not get through
        return str(error)
    return str(asked.stdout or asked.stderr)


@pytest.fixture(scope="session")
def cluster(pytestconfig: pytest.Config) -> Cluster:
    return clusters.load(Path(pytestconfig.getoption("ansible_inventory")))


@pytest.fixture(scope="session")
def hosts(pytestconfig: pytest.Config) -> dict[str, Host]:
    return _hosts(pytestconfig)


@pytest.fixture(scope="session")
def new_visitor(cluster: Cluster) -> Callable[[], Browser]:
    """Make a browser that has never been here; the site answers by then, if it does at all."""

    def make() -> Browser:
        return Browser(cluster.edge, 443, cluster.authority)

    eventually(lambda: make().get("/-/ready/").status == 200, limit=120)
    return make


@pytest.fixture
def visitor(new_visitor: Callable[[], Browser]) -> Browser:
    return new_visitor()


@pytest.fixture(scope="session")
def web(cluster: Cluster, hosts: dict[str, Host]) -> list[Host]:
    return [hosts[name] for name in cluster.groups["web"]]


@pytest.fixture(scope="session")
def profiles(web: list[Host]) -> int:
    """Profiles are in the directory: the first is number 1. How many there are."""
    count = int(
        manage(web[0], "shell", "-v0", "-c", "from people.models import Profile; print(Profile.objects.count())")
    )
    if not count:
        manage(web[0], "seed_profiles", "--count", "200")
    return count or 200


@pytest.fixture(scope="session")
def comers(cluster: Cluster, profiles: int) -> Visitors:
    """Visitors who come while something is done to the cluster."""
    return visitors(cluster.inventory)


@pytest.fixture(scope="session")
def account(web: list[Host], profiles: int) -> Account:
    """Somebody who may log in, administrator as well."""
    made = Account(f"alice-{secrets.token_hex(4)}", secrets.token_urlsafe(24))
    mail = f"--email={made.name}@example.org"
    manage(
        web[0], "createsuperuser", "--noinput", f"--username={made.name}", mail,
        DJANGO_SUPERUSER_PASSWORD=made.password,
    )  # fmt: skip
    return made


@pytest.fixture
def member(visitor: Browser, account: Account) -> Browser:
    """A visitor who is logged in."""
    visitor.log_in(account.name, account.password)
    return visitor


@pytest.fixture
def run_suite(host: Host, cluster: Cluster) -> Callable[..., None]:
    """Run the edge's suite on the host, with arguments of run_vtc.py's."""
    suite = PROJECT / "roles" / "varnish_edge" / "tests"
    directory = host.check_output("mktemp -d")
    host.check_output(f"chown debian {directory}")
    target = f"debian@{cluster.addresses[host.backend.host]}:{directory}"
    scp = ["scp", "-q", "-r", "-F", str(PROJECT / ".lab" / "ssh_config"), str(suite), target]
    subprocess.run(scp, check=True, timeout=SUITE_LIMIT)

    def run(*arguments: str) -> None:
        command = f"cd {directory}/{suite.name} && timeout {SUITE_LIMIT} python3 run_vtc.py {' '.join(arguments)}"
        done = host.run(command)
        assert done.rc == 0, done.stdout + done.stderr

    return run
