"""seed_profiles: repeatable, all or nothing, and polite."""

import io
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client
from django.utils import timezone

from people import seed
from people.management.commands import seed_profiles
from people.models import Company, JobTitle, Profile
from people.tests.conftest import MakeProfile

pytestmark = pytest.mark.django_db(transaction=True)

CONTENT = ("id", "name", "email", "address", "company__name", "job_title__name", "website", "birthday", "bio")


def run(*arguments: str) -> str:
    out = io.StringIO()
    call_command("seed_profiles", *arguments, stdout=out)
    return out.getvalue()


def content() -> list[tuple[Any, ...]]:
    return list(Profile.objects.order_by("id").values_list(*CONTENT))


def foreign_keys() -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT conname || pg_get_constraintdef(oid) FROM pg_constraint"
            " WHERE conrelid = 'people_profile'::regclass AND contype = 'f' AND convalidated ORDER BY 1"
        )
        return [row[0] for row in cursor.fetchall()]


def test_the_same_seed_and_count_give_the_same_people_again() -> None:
    run("--count", "200", "--seed", "7")
    first = content()
    run("--count", "200", "--seed", "7", "--replace")
    assert content() == first
    run("--count", "200", "--seed", "8", "--replace")
    assert content() != first


def test_the_people_look_like_people() -> None:
    run("--count", "500")
    people = Profile.objects.select_related("company", "job_title")
    assert len(people) == 500
    for person in people:
        person.full_clean()
        assert 2_000 <= len(person.bio) <= 5_000
        assert person.email.isascii()
        assert "{" not in person.bio
        assert person.company.name in person.bio
    assert len({person.bio for person in people}) == 500
    assert Company.objects.count() == 2_000
    assert JobTitle.objects.count() == 200
    assert people.filter(website="").exists()
    assert people.exclude(website="").exists()


def test_ids_run_from_one_and_the_highest_is_the_newest() -> None:
    run("--count", "30")
    assert [person.pk for person in Profile.objects.newest()] == list(range(30, 0, -1))
    times = Profile.objects.values_list("created", flat=True)
    assert len(set(times)) == 30
    assert max(times) <= timezone.now()


def test_a_profile_can_be_added_afterwards_and_comes_first(make_profile: MakeProfile) -> None:
    run("--count", "30")
    person = make_profile(company="A new company")
    assert person.pk == 31
    assert Profile.objects.newest()[0] == person


def test_existing_profiles_are_neither_deleted_nor_mixed_unasked(make_profile: MakeProfile) -> None:
    make_profile()
    with pytest.raises(CommandError, match=r"There are 1 profiles .* Add 20 to them with --append, or .* --replace"):
        run("--count", "20")
    assert Profile.objects.count() == 1
    run("--count", "20", "--append")
    assert Profile.objects.count() == 21
    run("--count", "20", "--append", "--seed", "2")
    assert Profile.objects.count() == 41
    assert Company.objects.count() == 2_001, "the same companies, and the one that was there"
    run("--count", "20", "--replace")
    assert Profile.objects.count() == 20
    assert Company.objects.count() == 2_000


@pytest.mark.parametrize("option", ["--append", "--replace"])
def test_when_it_fails_in_the_middle_everything_is_as_before(
    make_profile: MakeProfile, monkeypatch: pytest.MonkeyPatch, option: str
) -> None:
    make_profile()
    before, keys = content(), foreign_keys()

    def break_off(*arguments: Any) -> Iterator[str]:
        for number, row in enumerate(seed.rows(*arguments)):
            if number == 3_000:
                raise RuntimeError("pulled the plug")
            yield row

    monkeypatch.setattr(seed_profiles, "rows", break_off)
    with pytest.raises(Exception, match="pulled the plug"):
        run("--count", "5000", option)
    assert content() == before
    assert Company.objects.count() == JobTitle.objects.count() == 1
    assert foreign_keys() == keys
    monkeypatch.undo()
    run("--count", "10", option)
    assert Profile.objects.count() == (11 if option == "--append" else 10)


def test_the_foreign_keys_are_there_and_checked_afterwards() -> None:
    before = foreign_keys()
    assert len(before) == 3
    run("--count", "10")
    assert foreign_keys() == before


@pytest.mark.parametrize("count", ["0", "-5", "many", "1.5", ""])
def test_a_count_that_is_none_is_refused_in_plain_words(count: str) -> None:
    with pytest.raises(CommandError, match="it must be 1 or more"):
        run(f"--count={count}")


def test_append_and_replace_exclude_each_other() -> None:
    with pytest.raises(CommandError, match="not allowed with"):
        run("--count", "1", "--append", "--replace")


def test_progress_is_plain_lines_in_a_log_and_a_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    log = run("--count", "100")
    assert "\r" not in log
    assert " 50%  50 of 100 profiles, " in log
    assert "100 profiles in " in log.splitlines()[-1]

    terminal = io.StringIO()
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    call_command("seed_profiles", "--count=100", "--replace", stdout=terminal)
    assert "\r[" + "#" * 15 + "." * 15 + "]  50%" in terminal.getvalue()
    assert "\r[" + "#" * 30 + "] 100%" in terminal.getvalue()


def test_the_pages_of_a_seeded_directory_work(client: Client) -> None:
    run("--count", "50")
    assert len(client.get("/").context["profiles"]) == 20
    for person in Profile.objects.all():
        assert client.get(person.get_absolute_url()).status_code == 200
