"""The application's service on the web hosts: its user, its sandbox, its environment."""

from __future__ import annotations

import pytest
from testinfra.host import Host

from support.cluster import APPLICATION, Cluster, manage, uwsgi_stats

testinfra_hosts = ["web"]

SANDBOX = {
    "User": APPLICATION,
    "NoNewPrivileges": "yes",
    "CapabilityBoundingSet": "",
    "AmbientCapabilities": "",
    "LockPersonality": "yes",
    "PrivateDevices": "yes",
    "PrivateTmp": "yes",
    "ProtectClock": "yes",
    "ProtectControlGroups": "yes",
    "ProtectHome": "yes",
    "ProtectHostname": "yes",
    "ProtectKernelLogs": "yes",
    "ProtectKernelModules": "yes",
    "ProtectKernelTunables": "yes",
    "ProtectProc": "invisible",
    "ProtectSystem": "strict",
    "RestrictNamespaces": "yes",
    "RestrictRealtime": "yes",
    "RestrictSUIDSGID": "yes",
    "SystemCallArchitectures": "native",
    "UMask": "0027",
}


def show(host: Host, *properties: str) -> dict[str, str]:
    lines = host.check_output(f"systemctl show {APPLICATION} --property={','.join(properties)}").splitlines()
    return dict(line.split("=", 1) for line in lines)


def inside(host: Host, command: str) -> tuple[int, str]:
    """Run a command as root, with the service's view of the file system."""
    process = show(host, "MainPID")["MainPID"]
    done = host.run(f"nsenter --target {process} --mount -- {command}")
    return done.rc, done.stderr


def test_it_runs_and_starts_at_boot(host: Host) -> None:
    service = host.service(APPLICATION)
    assert service.is_running
    assert service.is_enabled


def test_its_sandbox_is_in_force(host: Host) -> None:
    assert show(host, *SANDBOX) == SANDBOX


def test_systemd_finds_little_exposure(host: Host) -> None:
    """The threshold is in tenths: 2.0 of 10."""
    host.run_expect([0], f"systemd-analyze security --no-pager --threshold=20 {APPLICATION}")


@pytest.mark.parametrize("path", ["/etc", "/usr", "/srv/people/current/source", "/srv/people/static"])
def test_it_can_not_write_to_the_system_or_its_own_code(host: Host, path: str) -> None:
    status, error = inside(host, f"touch {path}/written")
    assert status != 0
    assert "Read-only file system" in error


def test_it_can_write_to_its_media_directory(host: Host) -> None:
    assert inside(host, "touch /srv/people/media/written")[0] == 0
    host.check_output("rm /srv/people/media/written")


def test_every_process_is_the_applications_own_user(host: Host) -> None:
    users = host.check_output(f"ps -o user= -p $(systemctl show --property=MainPID --value {APPLICATION})").split()
    users += host.check_output(f"ps -o user= --user {APPLICATION} | sort -u").split()
    assert set(users) == {APPLICATION}


def test_its_secrets_are_for_root_and_the_service_alone(host: Host) -> None:
    file = host.file(f"/srv/{APPLICATION}/current/environment")
    assert (file.user, file.group, file.mode) == ("root", APPLICATION, 0o640)


def test_it_queues_a_burst(host: Host, cluster: Cluster) -> None:
    """A listen backlog above the kernel's limit would have been cut silently."""
    address = cluster.addresses[host.backend.host]
    backlog = host.check_output(f"ss --no-header --listening --tcp --numeric src {address}:3031").split()[2]
    assert backlog == "1024"


def test_django_finds_nothing_to_warn_about_for_deployment(host: Host) -> None:
    assert "no issues" in manage(host, "check", "--deploy", "--fail-level", "WARNING")


def test_the_database_has_all_migrations(host: Host) -> None:
    manage(host, "migrate", "--check")


def test_management_commands_get_their_arguments_as_they_were_written(host: Host) -> None:
    """systemd, which starts them, has a meaning of its own for dollar and percent signs."""
    written = "${PGPASSWORD} $HOME $$ %n {{ 1 }}"
    assert manage(host, "shell", "-v0", "-c", f"print({written!r})").strip() == written


def test_the_database_refuses_a_wrong_password_and_other_databases(host: Host) -> None:
    """The positive case is every page; here from the same host, over the same way."""
    attempt = (
        "import psycopg2, sys\n"
        "for arguments in ({'password': 'wrong', 'port': 5432}, {'dbname': 'postgres', 'port': 5432}):\n"
        "    try: psycopg2.connect('', **arguments)\n"
        "    except psycopg2.OperationalError as error: print(str(error).strip())\n"
        "    else: sys.exit(f'let in with {list(arguments)}')\n"
        "psycopg2.connect('').close()"
    )
    said = manage(host, "shell", "-v0", "-c", attempt)
    assert "password authentication failed" in said
    assert 'database "postgres"' in said


def test_the_workers_are_as_many_as_the_cores_ask_for(host: Host) -> None:
    assert len(uwsgi_stats(host)["workers"]) == max(2 * int(host.check_output("nproc")), 2)
