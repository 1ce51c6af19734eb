"""The tool for releases on web hosts, on directories: what becomes current, what is gone back to, what is kept."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from loading import load

tool = load("uwsgi_django/files/hugproof_release.py")
systemd = load("uwsgi_django/filter_plugins/systemd.py")
this_run = load("uwsgi_django/lookup_plugins/this_run.py")
source_archive = load("uwsgi_django/library/source_archive.py")


def build(
    home: Path, name: str, environment: str = "e1", unit: str = "people.service", stats: str = "stats.sock"
) -> None:
    """Make a release as the role does, as far as the tool looks at it; a moment after all others."""
    release = home / "releases" / name
    release.mkdir(parents=True)
    (home / "venvs" / environment).mkdir(parents=True, exist_ok=True)
    (release / "venv").symlink_to(home / "venvs" / environment)
    (release / "environment").write_text(f'# {{"unit": "{unit}", "stats": "{stats}"}}\nNAME=value\n')
    (release / ".complete-python3.13").touch()


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A host with three releases, of which `b` runs and `a` ran before."""
    for name in ("a", "b", "c"):
        build(tmp_path, name)
    site = tool.Releases(tmp_path)
    for name in ("a", "b"):
        site.switch(name, "ida")
        site.finish(5)
    return tmp_path


def names(home: Path, *links: str) -> list[str]:
    found = [tool.Releases(home).link(link) for link in links]
    return [release.name if release else "" for release in found]


def test_a_switch_is_remembered_until_it_is_finished(home: Path) -> None:
    site = tool.Releases(home)
    site.switch("c", "ida")
    assert names(home, "current", "switching", "previous") == ["c", "b", "a"]
    site.finish(5)
    assert names(home, "current", "switching", "previous") == ["c", "", "b"]


def test_the_way_back_restores_all_of_it(home: Path) -> None:
    site = tool.Releases(home)
    site.switch("c", "ida")
    assert site.back("ida") == "people.service"
    assert names(home, "current", "switching", "previous") == ["b", "", "a"]


def test_a_host_that_has_not_switched_has_no_way_back(home: Path) -> None:
    assert tool.Releases(home).back("ida") == ""
    assert names(home, "current", "switching", "previous") == ["b", "", "a"]


def test_a_switch_to_what_ran_before_is_a_way_back_too(home: Path) -> None:
    site = tool.Releases(home)
    site.switch("c", "ida")
    site.switch("b", "ida")
    site.finish(5)
    assert names(home, "current", "switching", "previous") == ["b", "", "a"]


def test_an_interrupted_way_back_is_gone_to_its_end(home: Path) -> None:
    site = tool.Releases(home)
    site.switch("a", "ida")
    assert names(home, "current", "switching", "previous") == ["a", "b", "a"]
    assert site.find("previous") == "a"
    site.finish(5)
    assert names(home, "current", "switching", "previous") == ["a", "", "b"]


def test_what_was_not_built_to_the_end_is_removed_and_nothing_else(home: Path) -> None:
    (home / "releases" / "half" / "source").mkdir(parents=True)
    (home / "venvs" / "e1" / ".complete").touch()
    (home / "venvs" / "e2").mkdir()
    tool.Releases(home).drop_unfinished()
    left = [path.name for path in home.glob("*/*") if path.is_dir() and not path.is_symlink()]
    assert sorted(left) == ["a", "b", "c", "e1"]


@pytest.mark.parametrize("other", [{"unit": "people-direct.service"}, {"stats": ""}], ids=["unit", "server"])
def test_a_release_of_another_rung_is_not_gone_back_to(home: Path, other: dict[str, str]) -> None:
    build(home, "d", **other)
    with pytest.raises(SystemExit, match="Release d is one of another rung"):
        tool.Releases(home).find("d")


def test_after_an_interrupted_switch_the_way_back_is_to_what_was_finished_last(home: Path) -> None:
    build(home, "d")
    site = tool.Releases(home)
    site.switch("c", "ida")
    site.switch("d", "ida")
    assert names(home, "current", "switching") == ["d", "b"]
    assert site.find("previous") == "b"


def test_the_same_release_again_is_no_switch(home: Path) -> None:
    log = (home / "releases.log").read_text()
    tool.Releases(home).switch("b", "ida")
    assert names(home, "current", "switching", "previous") == ["b", "", "a"]
    assert (home / "releases.log").read_text() == log


def test_the_log_says_who_switched_from_what_to_what(home: Path) -> None:
    lines = [line.split(" ", 1)[1] for line in (home / "releases.log").read_text().splitlines()]
    assert lines == ["- -> a by ida", "a -> b by ida"]


def test_what_runs_and_what_ran_before_is_always_kept(home: Path) -> None:
    tool.Releases(home).finish(0)
    assert sorted(path.name for path in (home / "releases").iterdir()) == ["a", "b"]


def test_releases_that_ran_last_are_kept_and_environments_that_they_use(home: Path) -> None:
    site = tool.Releases(home)
    for later, (name, environment) in enumerate((("d", "e2"), ("e", "e3"), ("f", "e4")), start=1):
        build(home, name, environment)
        site.switch(name, "ida")
        site.finish(9)
        ran = time.time() + later
        os.utime(home / "releases" / name / ".complete-python3.13", (ran, ran))
    (home / "releases" / "cut-short").mkdir()
    gone = site.finish(2)
    assert [Path(path).name for path in gone] == ["a", "b", "c", "cut-short", "e1"]
    assert sorted(path.name for path in (home / "venvs").iterdir()) == ["e2", "e3", "e4"]


def test_what_is_not_whole_can_not_become_current(home: Path) -> None:
    (home / "releases" / "half").mkdir()
    with pytest.raises(SystemExit, match="no release half here"):
        tool.Releases(home).switch("half", "ida")


def test_a_release_is_found_by_the_beginning_of_its_name(home: Path) -> None:
    build(home, "bb")
    site = tool.Releases(home)
    assert site.find("bb") == "bb"
    with pytest.raises(SystemExit, match="More than one release here is 'b'"):
        site.find("b")
    with pytest.raises(SystemExit, match="No release here is 'x'") as told:
        site.find("x")
    assert "current" in str(told.value)


def test_the_first_release_has_none_before_it(tmp_path: Path) -> None:
    build(tmp_path, "a")
    site = tool.Releases(tmp_path)
    site.switch("a", "ida")
    assert site.back("ida") == ""
    with pytest.raises(SystemExit, match="No release here is 'previous'"):
        site.find("previous")


def test_a_worker_is_for_every_host_and_the_rest_for_the_first(tmp_path: Path) -> None:
    home, system = tmp_path / "people", tmp_path / "system"
    (home / "releases" / "a" / "units").mkdir(parents=True)
    system.mkdir()
    mine = ["people-beat.service", "people-periodic-x.service", "people-periodic-x.timer", "people-worker.service"]
    for name in mine:
        (home / "releases" / "a" / "units" / name).write_text(name)
        (system / name).write_text("of another release")
    for name in ("people.service", "people-direct.service", "people2-worker.service"):
        (system / name).write_text("not of background work")
    background = tool.Background(home, system)
    assert list(background.wanted(home / "releases" / "a", first=True)) == [mine[-1], *mine[:-1]]
    assert background.wanted(home / "releases" / "a", first=False) == {mine[-1]: mine[-1]}
    assert background.wanted(None, first=True) == {}
    assert sorted(background.placed()) == mine


def test_the_words_of_a_unit_arrive_as_they_were_written() -> None:
    """systemd has a meaning of its own for quotes, backslashes, dollar and percent signs."""
    written = ["plain", "two words", 'a "quote"', "$HOME", "100%", "back\\slash"]
    assert systemd.systemd_words(written) == (r'''"plain" "two words" "a \"quote\"" "$$HOME" "100%%" "back\\slash"''')


def test_the_lock_is_held_by_one(tmp_path: Path) -> None:
    lock = tool.Lock(tmp_path / "lock")
    assert lock.take("ida", "") == "ida"
    assert lock.take("ida", "") == "ida"
    assert lock.take("max", "") == "ida"
    assert lock.take("max", "somebody else") == "ida"
    lock.leave("max")
    assert lock.holder() == "ida"
    assert lock.take("max", "ida") == "max"
    lock.leave("max")
    assert lock.holder() == ""
    assert list(tmp_path.iterdir()) == []


def test_a_run_knows_itself_and_that_others_have_ended() -> None:
    mine = this_run.description()
    assert not this_run.has_ended(mine)
    assert this_run.has_ended(mine.replace("(start ", "(start 1"))
    elsewhere = mine.replace("@", "@another-machine-than-").replace("(start ", "(start 1")
    assert not this_run.has_ended(elsewhere)
    assert not this_run.has_ended("no description")
