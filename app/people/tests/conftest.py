"""Fixtures: a real PostgreSQL and a real memcached, pages made with collected static files, and a few people."""

import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.core.cache import cache
from django.core.management import call_command
from django.test import Client

from people.models import Company, JobTitle, Profile

PASSWORD = "correct horse battery staple"

MakeProfile = Callable[..., Profile]


@pytest.fixture(scope="session", autouse=True)
def static_files() -> Iterator[None]:
    call_command("collectstatic", interactive=False, verbosity=0)
    yield
    shutil.rmtree(settings.STATIC_ROOT)


@pytest.fixture(autouse=True)
def memcached_works() -> None:
    """Misses are not errors for the site, so that a missing memcached would go unnoticed here."""
    cache.set("tests", "run", 5)
    servers = settings.CACHES["default"]["LOCATION"]
    assert cache.get("tests") == "run", f"no memcached answers at {servers}: set MEMCACHED_SERVERS"


@pytest.fixture
def make_profile(db: None) -> MakeProfile:
    def make(name: str = "Ada Byron", company: str = "Amber Mills", job_title: str = "Editor", **rest: Any) -> Profile:
        return Profile.objects.create(
            name=name,
            email=rest.pop("email", "ada@amber-mills.example"),
            company=Company.named(company),
            job_title=JobTitle.named(job_title),
            **rest,
        )

    return make


@pytest.fixture
def user(db: None) -> User:
    return User.objects.create_user("grace", password=PASSWORD)


@pytest.fixture
def member(user: User) -> Client:
    """A browser that is logged in, with the cookie that the site has set for it."""
    client = Client()
    assert client.post("/login/", {"username": user.username, "password": PASSWORD}).status_code == 302
    return client


@pytest.fixture
def profile_data() -> dict[str, str]:
    """What a visitor types into the form for a new profile."""
    return {
        "name": "Łukasz O'Brien",
        "email": "lukasz@cedar-maps.example",
        "address": "1 Mill Lane, Gdańsk",
        "company": "Cedar Maps",
        "job_title": "Senior Translator",
        "website": "https://lukasz.example/",
        "birthday": "1980-02-29",
        "bio": "I translate.\n\nMostly maps.",
    }
