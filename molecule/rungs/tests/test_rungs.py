"""The ladder, up and down: whatever ran before, exactly the rung's parts run afterwards."""

from __future__ import annotations

import secrets
from contextlib import ExitStack
from dataclasses import dataclass, field

import pytest
from loadtest.plays import run, run_watched
from testinfra.host import Host

from support import sockets
from support.cluster import APPLICATION, Account, Cluster, manage, requests
from support.traffic import Visitors, Visits, visitors
from support.wait import eventually
from support.web import Browser, stylesheet

RUNGS = ("runserver", "uwsgi", "balanced", "cached")
# Up, down, and two jumps.
WAY = (*RUNGS, "balanced", "uwsgi", "runserver", "cached", "runserver")


@pytest.mark.parametrize("rung", ["runserver", "balanced"])
def test_a_dry_run_passes_on_bare_hosts(rung: str, cluster: Cluster) -> None:
    run(f"playbooks/{rung}.yml", cluster.inventory, "--check").succeeded()


@dataclass(frozen=True)
class Step:
    """Where the way has led: the rung, and whether it is there for the first time."""

    number: int
    rung: str

    @property
    def first_time(self) -> bool:
        return self.rung not in WAY[: self.number]

    @property
    def behind_edge(self) -> bool:
        return self.rung in ("balanced", "cached")

    def __str__(self) -> str:
        return f"{self.number + 1}-{self.rung}"

    @property
    def move(self) -> tuple[str | None, str]:
        """The rung that the way comes from, and the one it leads to."""
        return (WAY[self.number - 1] if self.number else None, self.rung)


STEPS = [Step(number, rung) for number, rung in enumerate(WAY)]
# Where nobody is turned away, though the site's address changes: visitors go to the new one when this is printed.
ADDRESS_CHANGES = {
    ("uwsgi", "balanced"): "PLAY [What other rungs ran on the web hosts is gone]",
    ("balanced", "uwsgi"): "PLAY [The edge hosts serve, one at a time]",
}
SAME_ADDRESS = {("balanced", "cached"), ("cached", "balanced")}
# They share a port: there is a gap.
SAME_PORT = {("runserver", "uwsgi"), ("uwsgi", "runserver")}


@dataclass
class Way:
    """The way up and down, under load, and how its visitors fared at each step."""

    cluster: Cluster
    visitors: Visitors | None = None
    visits: list[Visits] = field(default_factory=list)

    def take(self, step: Step) -> None:
        """Converge to the next rung, visitors coming and going meanwhile."""
        playbook, inventory = f"playbooks/{step.rung}.yml", self.cluster.inventory
        self.visits = []
        if step.move not in SAME_ADDRESS | SAME_PORT | set(ADDRESS_CHANGES):
            run(playbook, inventory).succeeded()
            return
        comers = self.visitors = self.visitors or visitors(inventory)
        comers.visits = self.visits
        old, new = step.move
        with ExitStack() as before, ExitStack() as after:
            before.enter_context(comers.meanwhile(old))

            def visitors_move() -> None:
                before.close()
                after.enter_context(comers.meanwhile(new))

            moments = {ADDRESS_CHANGES[step.move]: visitors_move} if step.move in ADDRESS_CHANGES else {}
            run_watched(playbook, inventory, moments).succeeded()


@pytest.fixture(scope="module")
def way(cluster: Cluster) -> Way:
    return Way(cluster)


@pytest.fixture(scope="module", params=STEPS, ids=str)
def step(request: pytest.FixtureRequest, way: Way) -> Step:
    """Take the next step; its tests run before the one after it."""
    found: Step = request.param
    way.take(found)
    return found


@pytest.mark.steps(when=lambda step: step.move in SAME_ADDRESS | set(ADDRESS_CHANGES))
def test_nobody_is_turned_away_on_the_way(step: Step, way: Way) -> None:
    assert way.visits
    for visits in way.visits:
        visits.assert_nobody_was_turned_away()


@pytest.mark.steps(when=lambda step: step.move in SAME_PORT)
def test_between_servers_of_one_port_the_gap_ends_and_is_told(
    step: Step, way: Way, capsys: pytest.CaptureFixture[str]
) -> None:
    [visits] = way.visits
    failed, answered = visits.seconds(failed=True), visits.seconds(failed=False)
    with capsys.disabled():
        print(f"\n{' to '.join(step.move)}: requests failed in {len(failed)} of {max(answered)} seconds")
    assert max(answered) > max(failed, default=0)


@pytest.fixture
def visitor(step: Step, cluster: Cluster) -> Browser:
    """A browser at the place where the rung answers."""
    if step.behind_edge:
        return Browser(cluster.edge, 443, cluster.authority)
    return Browser(cluster.addresses[cluster.groups["web"][0]], 8000)


def test_exactly_the_rungs_sockets_listen(step: Step, cluster: Cluster, hosts: dict[str, Host]) -> None:
    found = {name: sockets.listening(host) for name, host in hosts.items()}
    assert found == {name: sockets.expected(cluster, name, step.rung) for name in hosts}


@pytest.mark.steps(when=lambda step: step.first_time)
def test_a_second_run_changes_nothing(step: Step, cluster: Cluster) -> None:
    done = run(f"playbooks/{step.rung}.yml", cluster.inventory).succeeded()
    assert set(done.changed.values()) == {0}, done.output


def test_pages_answer(step: Step, visitor: Browser, profiles: int) -> None:
    assert "Newest people" in visitor.get("/").text
    assert visitor.get("/profile/1/").status == 200
    assert visitor.get(stylesheet(visitor.get("/"))).status == 200


def test_a_member_logs_in_and_creates_a_profile(step: Step, visitor: Browser, account: Account) -> None:
    visitor.log_in(account.name, account.password)
    name = f"Ida {secrets.token_hex(4)}"
    assert visitor.get("/profile/new/").status == 200
    fields = {"name": name, "job_title": "Tester", "company": "Example", "email": "ida@example.org", "bio": "Hello."}
    answer = visitor.post("/profile/new/", fields)
    assert answer.status == 302, answer.text
    assert name in visitor.get(answer.headers["Location"]).text


def test_only_the_cached_rung_caches(step: Step, visitor: Browser, profiles: int) -> None:
    address = f"/?unseen={secrets.token_hex(8)}"
    answers = [visitor.get(address) for _ in range(2)]
    assert [answer.is_hit for answer in answers] == [False, step.rung == "cached"]
    assert ("Cache-Status" in answers[0].headers) == (step.rung == "cached")


def test_the_services_of_other_rungs_do_not_run_and_nothing_failed(
    step: Step, cluster: Cluster, hosts: dict[str, Host]
) -> None:
    """Neither now nor after a reboot."""
    wanted = {
        APPLICATION: cluster.groups["web"] if step.behind_edge else [],
        f"{APPLICATION}-direct": [] if step.behind_edge else cluster.groups["web"][:1],
        "nginx": cluster.groups["edge"] if step.behind_edge else [],
        "varnish": cluster.groups["edge"] if step.rung == "cached" else [],
    }
    for unit, members in wanted.items():
        for name, host in hosts.items():
            state = [
                host.run(f"systemctl {question} {unit}").stdout.strip() for question in ("is-active", "is-enabled")
            ]
            assert (state == ["active", "enabled"]) is (name in members), (unit, name, state)
            assert name in members or not {"active", "enabled"} & set(state), (unit, name, state)
    for host in hosts.values():
        assert host.check_output("systemctl --failed --no-legend --plain") == ""


@pytest.mark.steps(when=lambda step: step.behind_edge)
def test_every_web_host_behind_the_edge_serves(step: Step, visitor: Browser, web: list[Host], profiles: int) -> None:
    for host in web:
        eventually(lambda host=host: _takes_part(host, visitor))


def _takes_part(host: Host, visitor: Browser) -> bool:
    """Whether a request for an unknown page was the host's turn."""
    before = requests(host)
    visitor.get(f"/?unseen={secrets.token_hex(8)}")
    return requests(host) > before


@pytest.mark.steps(when=lambda step: step.behind_edge)
def test_django_finds_nothing_to_warn_about_for_deployment(step: Step, web: list[Host]) -> None:
    """Below the edge there is no TLS, and Django warns of that."""
    assert "no issues" in manage(web[0], "check", "--deploy", "--fail-level", "WARNING")
