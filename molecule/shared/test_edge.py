"""The edge hosts from inside: nginx and Varnish as they run, and the protocols they speak."""

from __future__ import annotations

import secrets

import pytest
from testinfra.host import Host

from support.cluster import DOMAIN, Cluster
from support.web import Browser, stylesheet

testinfra_hosts = ["edge"]

PURGE = "/run/varnish-edge/purge.sock"


@pytest.fixture
def client(host: Host, hosts: dict[str, Host], cluster: Cluster) -> Host:
    """A host with a recent curl, not this one if there is another, that trusts the site's authority."""
    others = [name for name in cluster.groups["web"] if name != host.backend.host]
    recent = [name for name in others if cluster.releases[name] != "bookworm"]
    chosen = hosts[[*recent, host.backend.host][0]]
    chosen.check_output("echo %s > /tmp/authority.crt", cluster.authority.read_text())
    return chosen


def curl(client: Host, host: Host, cluster: Cluster, *options: str) -> str:
    """What curl writes out of one request for the home page at this edge host."""
    address = cluster.addresses[host.backend.host]
    command = ["curl", "--silent", "--show-error", "--max-time", "20", "--cacert", "/tmp/authority.crt"]
    command += ["--resolve", f"{DOMAIN}:443:{address}", *options, "--output", "/dev/null", f"https://{DOMAIN}/"]
    return str(client.check_output(" ".join(["%s"] * len(command)), *command))


def test_nginx_runs_from_our_configuration_alone(host: Host) -> None:
    lines = host.check_output("nginx -T 2>/dev/null").splitlines()
    files = {line.split()[-1].rstrip(":") for line in lines if line.startswith("# configuration file")}
    ours = {"/etc/nginx/nginx.conf", "/etc/nginx/upstream.conf", "/etc/nginx/mime.types", "/etc/nginx/uwsgi_params"}
    assert {name for name in files if "/modules-enabled/" not in name} == ours


def test_nginx_may_open_a_file_for_every_connection(host: Host) -> None:
    """Short of files it answers 500, and only under load."""
    connections = host.check_output("nginx -T 2>/dev/null | sed -n 's/^ *worker_connections \\([0-9]*\\);/\\1/p'")
    for worker in host.check_output("pgrep --parent $(cat /run/nginx.pid)").split():
        limits = host.check_output(f"cat /proc/{worker}/limits")
        [files] = [line.split()[3] for line in limits.splitlines() if line.startswith("Max open files")]
        assert int(files) >= int(connections)


def test_http_2_is_spoken(host: Host, client: Host, cluster: Cluster) -> None:
    assert curl(client, host, cluster, "--http2", "--write-out", "%{http_version} %{response_code}") == "2 200"


def test_http_3_is_spoken_where_nginx_can(host: Host, client: Host, cluster: Cluster) -> None:
    announced = Browser(cluster.addresses[host.backend.host], 443, cluster.authority).get("/").headers["Alt-Svc"]
    if cluster.releases[host.backend.host] == "bookworm":
        assert announced is None
        return
    assert announced.startswith('h3=":443"')
    assert curl(client, host, cluster, "--http3-only", "--write-out", "%{http_version} %{response_code}") == "3 200"


def test_varnish_runs_the_vcl_on_disk(host: Host) -> None:
    loaded = [line.split() for line in host.check_output("varnishadm vcl.list").splitlines() if line.strip()]
    active = [words[-1] for words in loaded if words[0] == "active"]
    assert len(active) == 1
    shown = host.check_output(f"varnishadm vcl.show {active[0]}")
    assert shown.strip() == host.file("/etc/varnish/edge.vcl").content_string.strip()


def test_varnish_is_reached_over_its_sockets_alone(host: Host) -> None:
    lines = host.check_output("ss --no-header --listening --tcp --numeric --processes").splitlines()
    assert {line.split()[3] for line in lines if "varnishd" in line or "cache-main" in line} == {"127.0.0.1:6082"}


def test_only_nginx_reaches_the_cache_and_only_root_purges(host: Host) -> None:
    front, purge = host.file("/run/varnish-edge/front.sock"), host.file(PURGE)
    assert (front.group, front.mode) == ("www-data", 0o660)
    assert purge.mode == 0o600
    assert host.run(f"sudo -u nobody curl --silent --unix-socket {PURGE} http://{DOMAIN}/").rc == 7


def test_varnish_does_not_serve_as_root(host: Host) -> None:
    users = host.check_output("ps -o user= -C cache-main | sort -u").split()
    assert users != []
    assert "root" not in users


def test_the_sites_key_is_for_root_alone(host: Host) -> None:
    lines = host.check_output("nginx -T 2>/dev/null").splitlines()
    (path,) = {line.split()[1].rstrip(";") for line in lines if line.strip().startswith("ssl_certificate_key")}
    key = host.file(path)
    assert (key.user, key.mode) == ("root", 0o600)
    assert "PRIVATE KEY" in key.content_string


def test_root_purges_a_page_and_visitors_get_a_fresh_one(host: Host, cluster: Cluster) -> None:
    visitor = Browser(cluster.addresses[host.backend.host], 443, cluster.authority)
    address = f"/?unseen={secrets.token_hex(8)}"
    assert visitor.get(address).status == 200
    assert visitor.get(address).is_hit
    said = host.check_output(f"curl --silent --include -X PURGE --unix-socket {PURGE} 'http://{DOMAIN}{address}'")
    assert " 200 " in said.splitlines()[0]
    assert "X-Purged: 1" in said
    again = visitor.get(address)
    assert (again.status, again.cache["fwd"]) == (200, "stale")


def test_root_purges_everything_and_a_reload_does_not_undo_it(host: Host, cluster: Cluster) -> None:
    visitor = Browser(cluster.addresses[host.backend.host], 443, cluster.authority)
    address = f"{stylesheet(visitor.get('/'))}?unseen={secrets.token_hex(8)}"
    assert visitor.get(address).status == 200
    assert visitor.get(address).is_hit
    said = host.check_output(
        f"curl --silent --include -X PURGE -H 'X-Purge: everything' --unix-socket {PURGE} http://x/"
    )
    assert "X-Purged: everything" in said
    host.check_output("systemctl reload varnish")
    again = visitor.get(address)
    assert (again.status, again.cache["fwd"]) == (200, "stale")
    assert visitor.get(address).is_hit


def test_a_purge_from_outside_is_refused(host: Host, cluster: Cluster) -> None:
    visitor = Browser(cluster.addresses[host.backend.host], 443, cluster.authority)
    assert visitor.request("PURGE", "/").status == 405
