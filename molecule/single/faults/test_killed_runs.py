"""A run that is killed half-way, at many points: the next one completes what it began."""

from __future__ import annotations

import pytest
from loadtest.plays import run, run_until
from loadtest.releases import copy_application

from support.cluster import APPLICATION
from support.site import Site
from support.wait import eventually
from support.web import Answer, Browser, stylesheet

# Each is printed when a file has been replaced and the service has not been told yet.
POINTS = (
    "TASK [base : The firewall is in force]",
    "TASK [postgres : PostgreSQL runs with the settings on disk]",
    "TASK [memcached : Memcached runs with the options on disk]",
    "TASK [uwsgi_django : The release is laid out]",
    "TASK [uwsgi_django : The host's need to switch is told]",
    "TASK [varnish_edge : Varnish runs with the VCL on disk]",
    "TASK [nginx_lb : Nginx runs with the configuration on disk]",
)

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl ida@example.org"
ERROR_PAGE = "<!doctype html><title>Closed</title><p>Our dogs ate the cables.</p>"
IDAS_SUDO = "sudo -u ida sudo -n true"


@pytest.fixture(scope="module")
def changes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """A change for each part of the site, a new release among them."""
    source = copy_application(tmp_path_factory.mktemp("release"))
    (source / "RELEASE").write_text("the next one\n")
    (source / "503.html").write_text(ERROR_PAGE)
    return {
        "base_administrators": [{"name": "ida", "key": KEY}],
        "base_firewall_rules": ["tcp dport 2022 accept"],
        "postgres_max_connections": 150,
        "memcached_max_connections": 2048,
        "app_source": str(source),
        "app_environment": {"LANGUAGE_CODE": "en-gb"},
        "app_error_page": "503.html",
        "varnish_edge_ttl": "7s",
        "nginx_lb_server_options": ["add_header X-Probe changed always;"],
    }


@pytest.mark.parametrize("point", POINTS, ids=lambda point: point.split("[")[1].rstrip("]"))
def test_a_killed_run_leaves_a_site_that_serves(site: Site, changes: dict[str, object], point: str) -> None:
    run_until(point, "site.yml", site.cluster.inventory, **changes)
    eventually(site.answers)


def test_the_next_run_completes_all_of_it(site: Site, changes: dict[str, object]) -> None:
    """Not only on disk: every service runs the newest configuration."""
    site.converge(**changes).succeeded()
    host = site.host
    assert host.run(IDAS_SUDO).rc == 0
    assert "tcp dport 2022 accept" in host.check_output("nft list table inet hugproof")
    assert host.check_output("cd /; sudo -u postgres psql -tAc 'SHOW max_connections'") == "150"
    assert "-c 2048" in host.check_output("ps -o args= -C memcached")
    process = host.check_output(f"systemctl show --property=MainPID --value {APPLICATION}")
    assert "LANGUAGE_CODE=en-gb" in host.check_output(f"tr '\\0' '\\n' < /proc/{process}/environ").splitlines()
    assert host.check_output(f"cat /proc/{process}/cwd/RELEASE") == "the next one"
    active = host.check_output("varnishadm vcl.list | awk '$1 == \"active\" {print $NF}'")
    assert "beresp.ttl = 7s" in host.check_output(f"varnishadm vcl.show {active}")
    assert site.browser().get("/").headers["X-Probe"] == "changed"


def test_nothing_is_left_to_do_afterwards_nor_during_maintenance(site: Site, changes: dict[str, object]) -> None:
    """Visitors get the project's own page until it is over, and then the copies of before."""
    visitor = site.browser()
    kept = cached(visitor)
    run("playbooks/maintenance.yml", site.cluster.inventory, state="on").succeeded()
    assert closed(visitor.get(kept))
    assert closed(visitor.post("/login/", {"username": "a", "password": "b"}))
    again = site.converge(**changes).succeeded()
    assert again.changed["site1"] == 0
    assert "playbooks/maintenance.yml -e state=off" in again.words
    assert closed(visitor.get("/-/ready/"))
    run("playbooks/maintenance.yml", site.cluster.inventory, state="off").succeeded()
    assert visitor.get(kept).is_hit


def cached(visitor: Browser) -> str:
    """The path of a file that the cache has, for a long time."""
    path = stylesheet(visitor.get("/"))
    eventually(lambda: visitor.get(path).is_hit)
    return path


def closed(answer: Answer) -> bool:
    """Whether an answer is the one of maintenance."""
    assert int(answer.headers["Retry-After"]) > 0
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.cache == {"detail": "front"}
    return (answer.status, answer.text) == (503, ERROR_PAGE)


def test_the_way_back_is_a_run_as_well(site: Site) -> None:
    kept = cached(site.browser())
    site.converge(app_purge_after_release=True).succeeded()
    assert site.browser().get(kept).cache["fwd"] == "stale"
    assert site.host.run(IDAS_SUDO).rc != 0
    assert "X-Probe" not in site.browser().get("/").headers
    assert site.converge().succeeded().changed["site1"] == 0
    assert site.host.check_output("systemctl is-system-running") == "running"
