"""PostgreSQL of a host, asked as its superuser."""

from __future__ import annotations

from testinfra.host import Host

from support.cluster import APPLICATION


def query(host: Host, statement: str, cluster: str = "main", database: str = APPLICATION) -> str:
    """What psql prints of a statement, asked of one of the host's clusters."""
    version = host.check_output("ls /etc/postgresql")
    command = f"cd /; sudo -u postgres psql --no-psqlrc --cluster {version}/{cluster} -v ON_ERROR_STOP=1"
    return str(host.check_output(f"{command} -qtAd {database} -c %s", statement))


def waiting(host: Host) -> int:
    """How many segments of the write-ahead log wait for the archive."""
    return int(query(host, "SELECT count(*) FROM pg_ls_archive_statusdir() WHERE name ~ '[.]ready$'"))
