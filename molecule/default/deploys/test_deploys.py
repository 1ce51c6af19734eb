"""Releases under traffic: good ones, broken ones and interrupted ones, and nobody is turned away."""

from __future__ import annotations

import secrets
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from loadtest.plays import Run, run, run_until, run_watched
from loadtest.releases import BROKEN, EXTRA, HARMLESS, MIGRATION, Broken, copy_application, release
from testinfra.host import Host

from support.cluster import APPLICATION, Cluster, uwsgi_stats
from support.traffic import Visitors
from support.wait import eventually
from support.web import Browser, stylesheet

STEPS = ["before_build", "before_migrate", "after_migrate", "before_smoke", "after_smoke",
         "before_switch", "after_switch", "before_verify", "after_verify", "after_release"]  # fmt: skip
DEPLOY, ROLLBACK = "playbooks/deploy.yml", "playbooks/rollback.yml"


def running(hosts: list[Host]) -> list[set[str]]:
    """What the RELEASE files say that the workers of each host run from."""
    found = []
    for host in hosts:
        pids = [worker["pid"] for worker in uwsgi_stats(host)["workers"]]
        found.append({host.check_output(f"cat /proc/{pid}/cwd/RELEASE") for pid in pids})
    return found


@pytest.fixture
def deploy(cluster: Cluster, tmp_path: Path) -> Callable[..., Run]:
    """Deploy the example application with a name in its RELEASE file, and with files of it changed."""

    def deployed(name: str, appended: dict[str, str] | None = None, **variables: object) -> Run:
        return run(DEPLOY, cluster.inventory, **release(tmp_path, name, appended), **variables)

    return deployed


def hooks(directory: Path) -> dict[str, str]:
    """A hook for every step, which adds the step's name to a file on the host."""
    files = {step: directory / f"{step}.yml" for step in STEPS}
    for step, file in files.items():
        file.write_text(f"- ansible.builtin.shell: echo {step} >> /run/hooks\n")
    return {step: str(file) for step, file in files.items()}


@pytest.fixture
def visited(comers: Visitors) -> Iterator[None]:
    """Visitors come all the while, and are all served."""
    with comers.meanwhile("cached"):
        yield
    comers.visits[-1].assert_nobody_was_turned_away()


def test_releases_one_after_the_other_and_the_way_back(
    cluster: Cluster, web: list[Host], deploy: Callable[..., Run], visitor: Browser, tmp_path: Path, visited: None
) -> None:
    deploy("one", app_environment={"LANGUAGE_CODE": "en-gb"}).succeeded()
    assert running(web) == [{"one"}, {"one"}]
    kept = stylesheet(visitor.get("/"))
    eventually(lambda: visitor.get(kept).is_hit)
    changes = {
        "people/migrations/0002_harmless.py": MIGRATION.format(operation=HARMLESS),
        "people/static/people/people.css": "/* the second one */",
    }
    commands = ["check", ["check", "--deploy"]]
    deploy("two", changes, app_hooks=hooks(tmp_path), app_release_commands=commands).succeeded()
    assert running(web) == [{"two"}, {"two"}]
    # Pages in a cache, the visitor's own as well, still name the stylesheet of before.
    assert visitor.get(kept).is_hit
    web[1].check_output(f"rm /srv/{APPLICATION}{kept}")  # as on a host that has joined since
    for _ in range(4):
        assert visitor.get(f"{kept}?unseen={secrets.token_hex(8)}").status == 200
    eventually(lambda: stylesheet(visitor.get("/")) != kept)
    for host in web:
        assert host.check_output("cat /run/hooks").split() == STEPS
        host.check_output("rm /run/hooks")
    run(ROLLBACK, cluster.inventory).succeeded()
    assert running(web) == [{"one"}, {"one"}]
    for host in web:
        environment = host.check_output(f"tr '\\0' '\\n' < /proc/{uwsgi_stats(host)['pid']}/environ")
        assert "LANGUAGE_CODE=en-gb" in environment.splitlines()
        log = host.check_output(f"tail -n 3 /srv/{APPLICATION}/releases.log").splitlines()
        changes = [line.split()[1:4] for line in log]
        assert changes[1] == changes[2][::-1]
        assert changes[0][2] == changes[2][2]
        assert all("@" in line for line in log)


def test_the_same_release_again_changes_nothing(cluster: Cluster, web: list[Host], tmp_path: Path) -> None:
    variables = release(tmp_path, "one") | {"app_environment": {"LANGUAGE_CODE": "en-gb"}}
    assert set(run(DEPLOY, cluster.inventory, **variables).succeeded().changed.values()) == {0}


@pytest.mark.parametrize("broken", BROKEN.values(), ids=list(BROKEN))
def test_nobody_notices_a_broken_release(
    web: list[Host], deploy: Callable[..., Run], visited: None, broken: Broken
) -> None:
    done = deploy("broken", broken.appended, **broken.variables).failed()
    assert broken.told in done.words
    assert "is not in service" in done.words
    assert running(web) == [{"one"}, {"one"}]
    for host in web:
        assert not host.file("/run/hugproof-release.lock").exists
        assert not host.file(f"/srv/{APPLICATION}/switching").exists


SECOND = "when: inventory_hostname == 'web2'"


@pytest.mark.parametrize(
    ("step", "where", "told"),
    [
        ("before_migrate", SECOND, "is not in service: this run has switched no host"),
        ("after_smoke", SECOND, "is not in service: this run has switched no host"),
        ("before_switch", SECOND, "is not in service: it failed on web2"),
        ("after_verify", SECOND, "is not in service: it failed on web2"),
        ("before_verify", "run_once: true", "is not in service: it failed on web1"),
    ],
)
def test_what_fails_on_one_host_leaves_the_old_release_on_all(
    web: list[Host], deploy: Callable[..., Run], tmp_path: Path, visited: None, step: str, where: str, told: str
) -> None:
    hook = tmp_path / "hook.yml"
    hook.write_text(f"- ansible.builtin.fail: {{msg: 'not on this host'}}\n  {where}\n")
    done = deploy(f"hooked {step}", app_hooks={step: str(hook)}).failed()
    assert told in done.words
    assert "not on this host" in done.words
    assert running(web) == [{"one"}, {"one"}]
    assert not any(host.file("/run/hugproof-release.lock").exists for host in web)
    assert not any(host.file(f"/srv/{APPLICATION}/switching").exists for host in web)


def test_a_migration_gives_way_to_a_long_query(
    cluster: Cluster, hosts: dict[str, Host], web: list[Host], deploy: Callable[..., Run], visited: None
) -> None:
    """Everybody who needs the table would wait behind a migration that waits."""
    database = hosts[cluster.groups["db"][0]]
    query = "SELECT count(*) FROM people_profile; SELECT pg_sleep(600)"
    asked = "SELECT count(*) FROM pg_locks WHERE relation = 'people_profile'::regclass AND mode = 'AccessShareLock'"
    database.check_output(
        f"systemd-run --quiet --collect --unit=long-query --uid=postgres psql -d {APPLICATION} -c %s", query
    )
    try:
        eventually(lambda: database.check_output(f"cd /; sudo -u postgres psql -d {APPLICATION} -tAc %s", asked) != "0")
        added = {"people/migrations/0002_extra.py": MIGRATION.format(operation=EXTRA)}
        done = deploy("waiting", added, uwsgi_django_migration_lock_timeout="100ms").failed()
    finally:
        database.run("systemctl stop long-query")
    assert "canceling statement due to lock timeout" in done.words
    assert running(web) == [{"one"}, {"one"}]


def test_an_interrupted_deploy_is_finished_by_the_next_run(
    cluster: Cluster, web: list[Host], tmp_path: Path, visited: None
) -> None:
    three = release(tmp_path, "three")
    run_until("TASK [uwsgi_django : Every worker is ready]", DEPLOY, cluster.inventory, **three)
    assert running(web[1:]) == [{"one"}]
    run(DEPLOY, cluster.inventory, **three).succeeded()
    assert running(web) == [{"three"}, {"three"}]


def test_an_interrupted_deploy_is_undone_by_a_rollback(
    cluster: Cluster, web: list[Host], tmp_path: Path, visited: None
) -> None:
    banner = "TASK [uwsgi_django : Hook after the switch, before the host is back in the pool]"
    hook = tmp_path / "hook.yml"
    hook.write_text("- ansible.builtin.debug: {msg: 'this host has switched'}\n")
    variables = release(tmp_path, "four") | {"app_hooks": {"after_switch": str(hook)}}
    run_until(banner, DEPLOY, cluster.inventory, **variables)
    assert running(web) == [{"four"}, {"three"}]
    run(ROLLBACK, cluster.inventory).succeeded()
    assert running(web) == [{"three"}, {"three"}]


def test_a_deploy_cut_short_in_the_verification_is_gone_over_again(
    cluster: Cluster, web: list[Host], tmp_path: Path, visitor: Browser, visited: None
) -> None:
    variables = release(tmp_path, "verified") | {"app_hooks": hooks(tmp_path), "app_purge_after_release": True}
    run_until("TASK [uwsgi_django : Hook after the verification]", DEPLOY, cluster.inventory, **variables)
    assert running(web) == [{"verified"}, {"verified"}]
    kept = stylesheet(visitor.get("/"))
    eventually(lambda: visitor.get(kept).is_hit)
    run(DEPLOY, cluster.inventory, **variables).succeeded()
    for host in web:
        assert host.check_output("tail -n 2 /run/hooks").split() == ["after_verify", "after_release"]
        host.check_output("rm /run/hooks")
    assert visitor.get(kept).cache["fwd"] == "stale"


def test_of_two_deploys_at_once_the_second_is_told_of_the_first(
    cluster: Cluster, web: list[Host], tmp_path: Path
) -> None:
    seen: list[Run] = []

    def second() -> None:
        seen.append(run(DEPLOY, cluster.inventory, **release(tmp_path, "six")))

    banner = "TASK [uwsgi_django : The application can be imported, and the release has its static files]"
    first = run_watched(DEPLOY, cluster.inventory, {banner: second}, **release(tmp_path, "five"))
    first.succeeded()
    assert "Another run is at work on the releases of web1: " in seen[0].failed().words
    assert running(web) == [{"five"}, {"five"}]


def test_a_rolling_restart(cluster: Cluster, web: list[Host], visited: None) -> None:
    release = running(web)
    before = [uwsgi_stats(host)["pid"] for host in web]
    run("playbooks/restart.yml", cluster.inventory).succeeded()
    assert set(before).isdisjoint(uwsgi_stats(host)["pid"] for host in web)
    assert running(web) == release


def test_the_lock_of_another_machines_run_is_taken_over_when_asked(cluster: Cluster, web: list[Host]) -> None:
    web[1].check_output("printf %s > /run/hugproof-release.lock", "ida@elsewhere, process 1 (start 1)")
    before = [uwsgi_stats(host)["pid"] for host in web]
    refused = run("playbooks/restart.yml", cluster.inventory).failed()
    assert "Another run is at work on the releases of web2: ida@elsewhere, process 1 (start 1), since" in refused.words
    assert [uwsgi_stats(host)["pid"] for host in web] == before
    run("playbooks/restart.yml", cluster.inventory, uwsgi_django_take_over=True).succeeded()
    assert set(before).isdisjoint(uwsgi_stats(host)["pid"] for host in web)
    assert not any(host.file("/run/hugproof-release.lock").exists for host in web)


def test_a_page_is_purged_on_the_edge_or_everything(cluster: Cluster, visitor: Browser) -> None:
    eventually(lambda: visitor.get("/").is_hit)
    run("playbooks/purge.yml", cluster.inventory, paths=["/"]).succeeded()
    assert visitor.get("/").cache["fwd"] == "stale"
    kept = stylesheet(visitor.get("/"))
    eventually(lambda: visitor.get(kept).is_hit)
    run("playbooks/purge.yml", cluster.inventory, everything="true").succeeded()
    assert visitor.get(kept).cache["fwd"] == "stale"
    run("playbooks/purge.yml", cluster.inventory, everything=True, hard=True).succeeded()
    assert visitor.get(kept).cache["fwd"] == "uri-miss"
    refused = run("playbooks/purge.yml", cluster.inventory, paths="/").failed()
    assert 'paths is "/", everything is' in refused.words


def test_what_the_hosts_do_not_have_can_not_be_gone_back_to(cluster: Cluster, web: list[Host]) -> None:
    done = run(ROLLBACK, cluster.inventory, uwsgi_django_rollback_to="nosuch").failed()
    assert "No release here is 'nosuch'" in done.words
    assert running(web) == [{"five"}, {"five"}]


def test_a_rung_that_the_site_is_not_at(cluster: Cluster) -> None:
    done = run(DEPLOY, cluster.inventory, site_rung="uwsgi").failed()
    assert "does not serve people at the uwsgi rung yet: run site.yml first" in done.words


def test_releases_out_of_a_repository(cluster: Cluster, web: list[Host], tmp_path: Path) -> None:
    source = copy_application(tmp_path)

    def commit(name: str) -> None:
        (source / "RELEASE").write_text(name)
        for command in (["add", "--all"], ["commit", "--quiet", f"--message={name}"]):
            subprocess.run(
                ["git", "-c", "user.name=ida", "-c", "user.email=ida@example.org", *command], cwd=source, check=True
            )

    subprocess.run(["git", "init", "--quiet", "--initial-branch=main"], cwd=source, check=True)
    commit("tagged")
    subprocess.run(["git", "tag", "v1"], cwd=source, check=True)
    commit("on the branch")
    for version, name in (("v1", "tagged"), ("main", "on the branch")):
        run(DEPLOY, cluster.inventory, app_source=f"file://{source}", app_version=version).succeeded()
        assert running(web) == [{name}, {name}]
