"""Accounts for load tests: they log in, and go without a trace of what they did, and of nothing else."""

import pytest
from django.contrib.auth import get_user_model
from django.core.management import CommandError, call_command
from django.test import Client

from people.models import Company, JobTitle, Profile

pytestmark = pytest.mark.django_db
PASSWORD = "a password for load tests"


@pytest.fixture
def password(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("DJANGO_LOAD_PASSWORD", PASSWORD)
    return PASSWORD


def test_the_accounts_log_in(client: Client, password: str) -> None:
    call_command("load_accounts", count=3)
    assert [client.login(username=f"load-{number}", password=password) for number in (1, 3)] == [True, True]
    assert get_user_model().objects.count() == 3


def test_they_go_with_what_they_created_and_nobody_else_does(password: str) -> None:
    call_command("load_accounts", count=2)
    users = get_user_model()
    somebody = users.objects.create_user("load-9", "nine@example.org")
    rest = {"company": Company.named("Example"), "job_title": JobTitle.named("Tester")}
    Profile.objects.create(name="Of a load test", created_by=users.objects.get(username="load-1"), **rest)
    kept = Profile.objects.create(name="Somebody's", created_by=somebody, **rest)
    call_command("load_accounts", count=0)
    assert list(users.objects.all()) == [somebody]
    assert list(Profile.objects.all()) == [kept]


def test_a_second_run_replaces_the_accounts(client: Client, password: str, monkeypatch: pytest.MonkeyPatch) -> None:
    call_command("load_accounts", count=2)
    monkeypatch.setenv("DJANGO_LOAD_PASSWORD", "another password entirely")
    call_command("load_accounts", count=1)
    assert get_user_model().objects.count() == 1
    assert not client.login(username="load-1", password=password)
    assert client.login(username="load-1", password="another password entirely")


@pytest.mark.parametrize("value", ["", "short"])
def test_a_missing_or_short_password_is_refused(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DJANGO_LOAD_PASSWORD", value)
    with pytest.raises(CommandError, match="DJANGO_LOAD_PASSWORD"):
        call_command("load_accounts", count=1)
    assert get_user_model().objects.count() == 0
