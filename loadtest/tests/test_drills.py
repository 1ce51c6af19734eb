"""What is made of a drill, and what a user can get wrong about drills."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from loadtest.drills import figures, page
from loadtest.drills.catalogue import DRILLS
from loadtest.drills.figures import Event
from loadtest.drills.run import lacking
from loadtest.drills.site import incomplete
from loadtest.target import PROJECT, Target

MEMBERS = [
    {"name": "db1", "role": "replica", "state": "streaming", "timeline": 3},
    {"name": "db2", "role": "leader", "state": "running", "timeline": 3},
    {"name": "db3", "role": "sync_standby", "state": "streaming", "timeline": 3},
]
NAMES = ["db1", "db2", "db3"]


def answers(begin: float, end: float, every: float = 0.5) -> list[Event]:
    """An answer to each request that begins in a time, a tenth of a second later."""
    count = int((end - begin) / every)
    return [Event(begin + every * number, begin + every * number + 0.1) for number in range(count)]


def test_what_never_fails_is_served_at_once() -> None:
    found = figures.service(answers(-5, 30), 20, 30)
    assert (found["failed"], found["noticed"], found["served"], found["served_after_healing"]) == (0, None, 0, 0)
    assert found["pause"] == 0.5


def test_it_is_served_again_when_the_first_answer_after_the_last_failure_has_come() -> None:
    failing = [Event(1, 1.2, "status 503"), Event(6, 6.3, "status 503")]
    found = figures.service([*answers(-5, 1), *failing, *answers(3, 6), *answers(7, 30)], 20, 30)
    assert (found["failed"], found["noticed"], found["served"]) == (2, 1.2, 7.1)
    assert found["failures"] == {"status 503": 2}


def test_what_hangs_and_then_is_answered_was_not_served_meanwhile() -> None:
    found = figures.service([*answers(-5, 0), Event(0.2, 9.0), *answers(9, 30)], 20, 30)
    assert (found["failed"], found["served"], found["pause"]) == (0, 9.0, 9.0)


def test_what_fails_until_it_is_healed_counts_from_there() -> None:
    failing = [Event(at, at + 0.1, "refused") for at in range(1, 22)]
    found = figures.service([*answers(-5, 0), *failing, *answers(22, 30)], 20, 30)
    assert found["served"] is None
    assert found["served_after_healing"] == 2.1


def test_what_is_never_served_again_is_told() -> None:
    found = figures.service([*answers(-5, 0), *(Event(at, at + 0.1, "refused") for at in range(1, 30))], 20, 30)
    assert (found["served"], found["served_after_healing"]) == (None, None)
    hangs = figures.service(answers(-5, 0), 20, 30)
    assert (hangs["served"], hangs["served_after_healing"], hangs["pause"]) == (None, None, 30)


def test_answers_and_failures_are_counted_in_the_second_in_which_they_end() -> None:
    events = [Event(-0.5, -0.1), Event(0.9, 1.1), Event(1.2, 1.9, "refused")]
    assert figures.by_second(events) == {"-1": [1, 0], "1": [1, 1]}


def run_of(drill: str = "off-web", **more: Any) -> dict[str, Any]:
    served = {"requests": 90, "failed": 2, "noticed": 0.4, "served": 3.5, "served_after_healing": 0.0, "pause": 3.2,
              "failures": {"refused": 2}}  # fmt: skip
    found = {
        "drill": drill, "repeat": 1, "says": "Something <breaks>.",
        "expected": {"limit": 10, "in_flight": None, "whole": 180},
        "moments": {"healing": 20.0, "whole": 30.0, "end": 35.0}, "marks": [[0.0, "web1 off"], [1.5, "nobody leads"]],
        "missing": [], "complaints": [],
        "services": {"cached": {**served, "pause": 0.4}, "reads": served, "writes": served},
        "cached_failures": [],
        "classes": {"home": {"requests": 100, "failed": 0}, "login": {"requests": 9, "failed": 1}},
        "time_line": {name: {"-1": [4, 0], "0": [3, 1]} for name in ("cached", "reads", "writes", "others")},
        "acknowledged": 500, "lost": 0, "integrity": [],
    }  # fmt: skip
    found |= more
    found["faults"] = figures.faults(found, found["expected"])
    return found | {"passed": not found["faults"]}


def test_a_drill_is_passed_when_everything_is_served_in_time_and_nothing_is_lost() -> None:
    assert run_of()["faults"] == []


@pytest.mark.parametrize(
    ("seen", "told"),
    [
        ({"lost": 3}, "3 of 500 acknowledged writes are lost"),
        ({"integrity": ["1 pages whose checksum does not fit on db1"]}, "1 pages whose checksum does not fit on db1"),
        ({"cached_failures": [1.0, 2.5]}, "2 requests for cached pages failed, the last begun 2.5 s after the break"),
        ({"complaints": ["etcd on db1 did not come back by itself"]}, "etcd on db1 did not come back by itself"),
        ({"expected": {"limit": 3, "in_flight": None, "whole": 180}}, "served again after 3.5 s, not within 3 s"),
        ({"moments": {"whole": None}, "missing": ["db1: gone"]}, "not whole again within 180 s: db1: gone"),
    ],
)
def test_a_drill_is_failed_by_each_of_these(seen: dict[str, Any], told: str) -> None:
    found = run_of(**seen)
    assert not found["passed"]
    assert any(told in fault for fault in found["faults"])


def test_requests_in_flight_on_a_lost_edge_host_may_fail_and_no_others() -> None:
    expected = {"limit": 10, "in_flight": 5.0, "whole": 180}
    assert run_of(cached_failures=[-0.1, 4.9], expected=expected)["passed"]
    assert not run_of(cached_failures=[5.1], expected=expected)["passed"]


def test_a_drill_is_failed_by_what_hangs_for_too_long_without_failing() -> None:
    reads = run_of()["services"]["reads"] | {"failed": 0, "noticed": None, "served": 12.0}
    assert run_of(services={"reads": reads})["faults"] == ["reads: served again after 12.0 s, not within 10 s"]


def test_a_share_of_reads_may_fail_where_a_drill_says_so() -> None:
    for failed, passed in ((9, True), (10, False)):
        reads = run_of()["services"]["reads"] | {"failed": failed, "served": None}
        expected = {"limit": 10, "share": 0.1, "in_flight": None, "whole": 180}
        assert run_of(services={"reads": reads}, expected=expected)["passed"] == passed


def test_of_what_a_playbook_does_the_longest_pause_counts() -> None:
    expected = {"limit": 3, "planned": True, "in_flight": None, "whole": 180}
    writes = run_of()["services"]["writes"] | {"served": 14.0}
    assert run_of(services={"writes": writes | {"pause": 2.8}}, expected=expected)["passed"]
    assert not run_of(services={"writes": writes | {"pause": 3.2}}, expected=expected)["passed"]


def test_what_is_expected_to_be_away_until_healing_has_to_come_back_then() -> None:
    expected = {"limit": None, "in_flight": None, "whole": 180}
    gone = run_of()["services"]["reads"] | {"served": None}
    assert run_of(services={"reads": gone}, expected=expected)["passed"]
    gone |= {"served_after_healing": None}
    assert run_of(services={"reads": gone}, expected=expected)["faults"] == ["reads: not served again after healing"]


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """A file with two rounds of one drill, and one of another that could not be carried out."""
    file = tmp_path / "drills.json"
    slower = run_of(repeat=2, lost=1, moments={"healing": 20.0, "whole": 50.0, "end": 55.0})
    broken = {"drill": "hung-web", "repeat": 1, "says": "Hangs.", "error": "web1 can <not> be reached", "passed": False}
    machine = {"cpu": "a CPU", "cores": 2, "memory_gib": 4, "kernel": "6"}
    file.write_text(json.dumps({"machine": machine, "visits_per_second": 4.0, "runs": [run_of(), slower, broken]}))
    return file


def test_the_documentations_table_has_a_line_for_each_drill(results: Path) -> None:
    lines = figures.markdown(json.loads(results.read_text())).splitlines()
    assert lines[2] == (
        "| off-web | Something <breaks>. | 1 of 2 | 0 of 200 | 2 of 20 | 0.4 (0.4) | 1.5 (1.5) | 3.5 (3.5) "
        "| 3.5 (3.5) | 3.2 (3.2) | 40.0 (50.0) | 1 of 1,000 |"
    )
    assert lines[3] == "| hung-web | Hangs. | 0 of 1 | 0 of 0 | 0 of 0 | - | - | - | - | - | - | 0 of 0 |"
    assert len(lines) == 4


def test_the_page_stands_alone_and_shows_what_failed(results: Path) -> None:
    text = page.write(results).read_text()
    assert "1 of 3</b>drills passed" in text
    assert "1 of 500 acknowledged writes are lost" in text
    assert '<td class="bad">1 of 2</td>' in text
    assert "web1 can &lt;not&gt; be reached" in text
    assert text.count("<svg") == 2
    assert "<script" not in text
    assert "src=" not in text
    assert "{{" not in text


def test_a_database_is_whole_when_all_of_it_follows_one_leader() -> None:
    assert incomplete(MEMBERS, NAMES) == []


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({0: None}, "the database misses db1"),
        ({1: {"role": "replica"}}, "0 members lead the database"),
        ({0: {"state": "starting"}}, "the database's db1 is starting"),
        ({0: {"timeline": 2}}, "the database's db1 is on another timeline"),
        ({2: {"role": "replica"}}, "the database has no synchronous standby"),
    ],
)
def test_what_a_database_misses_is_told(change: dict[int, dict[str, Any] | None], told: str) -> None:
    found = [
        member | (change.get(place) or {})
        for place, member in enumerate(MEMBERS)
        if place not in change or change[place] is not None
    ]
    assert incomplete(found, NAMES) == [told]


def drills(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "loadtest", "drills", *arguments]
    return subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, stdin=subprocess.DEVNULL)


def test_the_drills_are_listed() -> None:
    done = drills("--list")
    assert done.returncode == 0
    assert [line.split()[0] for line in done.stdout.splitlines()] == list(DRILLS)


def test_a_drill_that_there_is_not() -> None:
    done = drills("--only", "off-web", "earthquake")
    assert done.returncode == 1
    assert "There is no drill earthquake; there are kill-postgres, " in done.stderr


def test_a_cluster_that_can_not_lose_any_host(tmp_path: Path) -> None:
    done = drills("-i", "inventories/lab", "--reports", str(tmp_path))
    assert done.returncode == 1
    assert "the group dcs has no host, and drills need 3" in done.stderr
    assert "inventories/ha is one that can" in done.stderr
    assert not list(tmp_path.iterdir())


def test_a_cluster_that_can_lose_any_host_lacks_nothing(tmp_path: Path) -> None:
    groups = {"db": NAMES, "dcs": NAMES, "web": ["a", "b"], "cache": ["a", "b"], "edge": ["a", "b"], "backup": []}
    target = Target(tmp_path, "people.test", "people", groups, {}, {}, {})
    assert lacking(target) == []


def test_hosts_that_are_not_a_labs_are_not_broken(tmp_path: Path) -> None:
    """Documentation addresses, which no host has."""
    file = tmp_path / "hosts.yml"
    members = {"db": "abc", "dcs": "abc", "web": "de", "cache": "de", "edge": "de"}
    lines = [
        f"    {group}: {{hosts: {{{', '.join(f'{name}: ' for name in names)}}}}}" for group, names in members.items()
    ]
    hosts = [f"    {name}: {{ansible_host: 192.0.2.{number}}}" for number, name in enumerate("abcde", start=11)]
    text = ["all:", "  vars: {site_domain: people.test, app_name: people}", "  hosts:", *hosts, "  children:", *lines]
    file.write_text("\n".join(text) + "\n")
    done = drills("-i", str(file), "--reports", str(tmp_path / "reports"))
    assert done.returncode == 1
    assert "Drills break hosts, and only a lab's are there for that" in done.stderr


def test_a_table_of_results_that_are_not_there(tmp_path: Path) -> None:
    done = drills("--summary", "--reports", str(tmp_path))
    assert done.returncode == 1
    assert "`make drills` writes them to reports/drills.json" in done.stderr
