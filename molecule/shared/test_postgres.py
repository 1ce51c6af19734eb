"""PostgreSQL as it runs: who may connect, and what they may do."""

from __future__ import annotations

import json

from testinfra.host import Host

from support.cluster import APPLICATION, Cluster

testinfra_hosts = ["db"]


def query(host: Host, statement: str) -> str:
    """One value of a query, asked as the superuser."""
    return str(host.check_output("cd /; sudo -u postgres psql --no-psqlrc -tAc %s", statement))


def test_it_is_the_releases_own_version(host: Host, cluster: Cluster) -> None:
    version = {"bookworm": "15", "trixie": "17"}[cluster.releases[host.backend.host]]
    assert query(host, "SHOW server_version").split(".")[0] == version
    assert host.check_output("pg_lsclusters --no-header | wc -l") == "1"


def test_every_setting_of_the_file_is_in_force(host: Host) -> None:
    assert query(host, "SELECT count(*) FROM pg_settings WHERE pending_restart") == "0"
    assert query(host, "SELECT count(*) FROM pg_file_settings WHERE error IS NOT NULL") == "0"
    assert query(host, "SELECT count(*) FROM pg_hba_file_rules WHERE error IS NOT NULL") == "0"


def test_only_the_entitled_may_connect_and_only_with_scram(host: Host, cluster: Cluster) -> None:
    rules = query(
        host,
        "SELECT json_agg(json_build_array(type, database[1], user_name[1], address, auth_method))"
        " FROM pg_hba_file_rules",
    )
    addresses = ["127.0.0.1", *(cluster.addresses[name] for name in cluster.groups["web"])]
    clients = [["host", APPLICATION, APPLICATION, address, "scram-sha-256"] for address in addresses]
    local = [["local", "all", user, None, "peer"] for user in ("postgres", "all")]
    if cluster.has_database_cluster:
        members = [cluster.addresses[name] for name in cluster.groups["db"]]
        among = [("replication", "replicator", address) for address in ["127.0.0.1", *members]]
        among += [("postgres", "rewinder", address) for address in members]
        clients += [["host", *entry, "scram-sha-256"] for entry in among]
    assert sorted(json.loads(rules), key=str) == sorted(local + clients, key=str)


def test_passwords_are_kept_as_scram(host: Host) -> None:
    assert query(host, "SHOW password_encryption") == "scram-sha-256"
    kept = query(host, f"SELECT rolpassword FROM pg_authid WHERE rolname = '{APPLICATION}'")
    assert kept.startswith("SCRAM-SHA-256$")


def test_the_application_owns_its_database_and_nothing_else(host: Host, cluster: Cluster) -> None:
    rights = "rolsuper OR rolcreatedb OR rolcreaterole OR rolreplication OR rolbypassrls"
    assert query(host, f"SELECT {rights} FROM pg_roles WHERE rolname = '{APPLICATION}'") == "f"
    owned = "string_agg(datname || '=' || pg_get_userbyid(datdba), ' ' ORDER BY datname)"
    owners = query(host, f"SELECT {owned} FROM pg_database")
    assert owners == f"{APPLICATION}={APPLICATION} postgres=postgres template0=postgres template1=postgres"
    logins = query(host, "SELECT string_agg(rolname, ' ' ORDER BY rolname) FROM pg_roles WHERE rolcanlogin")
    members = " replicator rewinder" if cluster.has_database_cluster else ""
    assert logins == f"{APPLICATION} postgres{members}"


def test_memory_follows_the_hosts_share(host: Host, cluster: Cluster) -> None:
    """The lab's hosts plan with 1024 MB, shared among the groups a host is in."""
    share = 1024 // cluster.shares(host.backend.host)
    assert query(host, "SHOW shared_buffers") == f"{max(share // 4, 128)}MB"


def test_data_survives_a_power_cut(host: Host) -> None:
    assert query(host, "SHOW fsync") == "on"
    assert query(host, "SHOW synchronous_commit") == "on"
    assert query(host, "SHOW full_page_writes") == "on"
