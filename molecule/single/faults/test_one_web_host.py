"""The only web host starts its application anew: requests wait meanwhile, but not for one that has ended."""

from __future__ import annotations

from pathlib import Path

from loadtest.plays import run
from testinfra.host import Host

from support.cluster import APPLICATION
from support.site import Site
from support.traffic import Visitors
from support.wait import eventually

SOCKET = f"{APPLICATION}.socket"
# When systemd did not hold it any more: it may hold it again by the time that one looks.
LET_GO = f"systemctl show --property=InactiveEnterTimestampMonotonic --value {SOCKET}"


def holds(host: Host) -> bool:
    """Whether systemd holds the application's socket."""
    return bool(host.run(f"systemctl --quiet is-active {SOCKET}").rc == 0)


def test_nobody_is_turned_away_while_it_goes_over_to_another_release(
    site: Site, application: Path, comers: Visitors
) -> None:
    (application / "RELEASE").write_text("another one")
    before = site.service()
    with comers.meanwhile("cached"):
        run("playbooks/deploy.yml", site.cluster.inventory, app_source=str(application)).succeeded()
    comers.visits[-1].assert_nobody_was_turned_away()
    assert site.service() != before
    assert holds(site.host)


def test_nobody_waits_for_an_application_that_was_stopped(site: Site) -> None:
    site.host.check_output(f"systemctl stop {APPLICATION}")
    eventually(lambda: not holds(site.host))
    assert site.host.run("ss --no-header --listening --tcp 'sport = :3031' | grep .").rc == 1
    site.host.check_output(f"systemctl start {APPLICATION}")
    assert holds(site.host)
    eventually(site.answers)


def test_nobody_waits_for_an_application_that_has_ended_by_itself(site: Site) -> None:
    before, let_go = site.service(), site.host.check_output(LET_GO)
    site.host.check_output(f"systemctl kill --kill-whom=main --signal=KILL {APPLICATION}")
    eventually(lambda: site.host.check_output(LET_GO) != let_go)
    eventually(lambda: holds(site.host) and site.service() != before and site.answers())


def test_what_systemd_does_not_start_is_not_taken_for_what_still_runs(site: Site) -> None:
    """A unit with a fault in it, by a drop-in of the administrator's say."""
    directory = f"/etc/systemd/system/{APPLICATION}.service.d"
    before = site.service()
    site.host.check_output(f"mkdir -p {directory} && printf '[Service]\\nExecStart=\\n' > {directory}/faulty.conf")
    site.host.check_output("systemctl daemon-reload")
    try:
        done = run("playbooks/restart.yml", site.cluster.inventory).failed()
    finally:
        site.host.check_output(f"rm -r {directory} && systemctl daemon-reload")
    assert f"systemd does not start {APPLICATION}.service: " in done.words
    assert site.service() == before
    run("playbooks/restart.yml", site.cluster.inventory).succeeded()
