"""Logging in, and adding a profile."""

import datetime
from typing import Any

import pytest
from argon2.low_level import Type, hash_secret
from django.contrib.auth.hashers import identify_hasher
from django.contrib.auth.models import User
from django.core.cache import cache
from django.test import Client
from django.utils import timezone

from people.models import Company, JobTitle, Profile
from people.tests.conftest import PASSWORD, MakeProfile

pytestmark = pytest.mark.django_db


def errors(client: Client, data: dict[str, str]) -> dict[str, list[str]]:
    """Post a profile that is to be refused, and return what the form says."""
    response = client.post("/profile/new/", data)
    assert response.status_code == 200, "the profile was accepted"
    assert not Profile.objects.exists()
    assert not Company.objects.exists(), "a refused profile left its company behind"
    return response.context["form"].errors


def test_passwords_are_hashed_with_argon2id_at_owasps_parameters(user: User) -> None:
    assert user.password.startswith("argon2$argon2id$v=19$m=7168,t=5,p=1$")
    assert identify_hasher(user.password).algorithm == "argon2"


def test_a_visitor_logs_in_and_out(client: Client, user: User) -> None:
    response = client.post("/login/", {"username": "grace", "password": PASSWORD}, follow=True)
    assert response.redirect_chain == [("/", 302)]
    assert "grace" in response.text
    assert client.get("/logout/").status_code == 405
    assert client.post("/logout/", follow=True).redirect_chain == [("/", 302)]
    assert "sessionid" not in client.cookies or not client.cookies["sessionid"].value


@pytest.mark.parametrize(("name", "password"), [("grace", "wrong"), ("nobody", PASSWORD), ("", ""), ("🎉", "\u200b")])
def test_a_wrong_password_is_refused(client: Client, user: User, name: str, password: str) -> None:
    response = client.post("/login/", {"username": name, "password": password})
    assert response.status_code == 200
    assert response.context["form"].errors
    assert "sessionid" not in response.cookies


@pytest.mark.parametrize("kind", [{}, {"type": Type.D}], ids=str)
def test_a_hash_of_another_kind_still_logs_in_and_is_renewed(client: Client, user: User, kind: dict[str, Any]) -> None:
    parameters = {"time_cost": 1, "memory_cost": 512, "parallelism": 2, "hash_len": 32, "type": Type.ID} | kind
    user.password = "argon2" + hash_secret(PASSWORD.encode(), b"a salt of some length", **parameters).decode()
    user.save()
    assert client.post("/login/", {"username": "grace", "password": "wrong"}).status_code == 200
    assert client.post("/login/", {"username": "grace", "password": PASSWORD}).status_code == 302
    user.refresh_from_db()
    assert user.password.startswith("argon2$argon2id$v=19$m=7168,t=5,p=1$")


def test_the_log_in_goes_on_to_where_the_visitor_was_going_but_to_no_other_site(client: Client, user: User) -> None:
    credentials = {"username": "grace", "password": PASSWORD}
    assert client.get("/profile/new/")["Location"] == "/login/?next=/profile/new/"
    assert client.post("/login/?next=/profile/new/", credentials)["Location"] == "/profile/new/"
    assert client.post("/login/?next=https://evil.example/", credentials)["Location"] == "/"


def test_a_session_survives_the_loss_of_memcached(member: Client) -> None:
    cache.clear()
    assert "grace" in member.get("/").text

    cache.clear()
    assert "grace" in member.get("/").text


def test_adding_a_profile_requires_a_log_in(client: Client, profile_data: dict[str, str]) -> None:
    response = client.post("/profile/new/", profile_data)
    assert response.status_code == 302
    assert response["Location"].startswith("/login/")
    assert not Profile.objects.exists()


@pytest.mark.parametrize("address", ["/profile/new/", "/login/", "/logout/"])
def test_a_post_without_csrf_token_is_refused(user: User, profile_data: dict[str, str], address: str) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(user)
    assert client.post(address, {**profile_data, "username": "grace", "password": PASSWORD}).status_code == 403
    assert not Profile.objects.exists()


def test_the_whole_way_works_with_csrf_checks_on(user: User, profile_data: dict[str, str]) -> None:
    """Log-in page, log-in, form, new profile, home page: the loop of the talk's load."""
    client = Client(enforce_csrf_checks=True)

    def token(address: str) -> dict[str, str]:
        return {"csrfmiddlewaretoken": str(client.get(address).context["csrf_token"])}

    response = client.post("/login/", {"username": "grace", "password": PASSWORD, **token("/login/")})
    assert response["Location"] == "/"
    response = client.post("/profile/new/", {**profile_data, **token("/profile/new/")})
    assert response.status_code == 302
    assert client.get("/").context["profiles"][0].get_absolute_url() == response["Location"]


def test_a_new_profile_is_shown_with_a_message_and_comes_first_on_the_home_page(
    member: Client, user: User, make_profile: MakeProfile, profile_data: dict[str, str]
) -> None:
    make_profile("Somebody older")
    response = member.post("/profile/new/", profile_data, follow=True)
    person = Profile.objects.get(name="Łukasz O'Brien")
    assert response.redirect_chain == [(f"/profile/{person.pk}/", 302)]
    assert "Łukasz O&#x27;Brien is in the directory now." in response.text
    assert "is in the directory now" not in member.get(f"/profile/{person.pk}/").text
    assert Client().get("/").context["profiles"][0] == person
    assert person.created_by == user
    assert (person.company.name, person.job_title.name) == ("Cedar Maps", "Senior Translator")
    assert person.birthday == datetime.date(1980, 2, 29)


def test_companies_and_job_titles_are_found_again_whatever_their_case(
    member: Client, make_profile: MakeProfile, profile_data: dict[str, str]
) -> None:
    known = make_profile(company="Cedar Maps", job_title="Senior Translator")
    member.post("/profile/new/", {**profile_data, "company": "  cedar   MAPS ", "job_title": "SENIOR translator"})
    person = Profile.objects.latest("id")
    assert (person.company, person.job_title) == (known.company, known.job_title)
    assert Company.objects.count() == JobTitle.objects.count() == 1


def test_only_name_company_job_title_and_mail_address_are_required(
    member: Client, profile_data: dict[str, str]
) -> None:
    assert set(errors(member, {})) == {"name", "email", "company", "job_title"}
    required = {key: profile_data[key] for key in ("name", "email", "company", "job_title")}
    assert member.post("/profile/new/", required).status_code == 302


@pytest.mark.parametrize("field", ["name", "email", "company", "job_title"])
@pytest.mark.parametrize("value", ["", "   ", "\u00a0"])
def test_blank_is_not_a_value(member: Client, profile_data: dict[str, str], field: str, value: str) -> None:
    assert set(errors(member, {**profile_data, field: value})) == {field}


@pytest.mark.parametrize(
    "website", ["javascript:alert(1)", "ftp://files.example/", "data:text/html,x", "https://", "x y"]
)
def test_a_website_is_http_or_https(member: Client, profile_data: dict[str, str], website: str) -> None:
    assert set(errors(member, {**profile_data, "website": website})) == {"website"}


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        ("http://ada.example/", "http://ada.example/"),
        ("HTTPS://ada.example", "HTTPS://ada.example"),
        ("ada.example", "https://ada.example"),
        ("", ""),
    ],
)
def test_a_website_is_kept_as_typed_and_without_scheme_it_is_https(
    member: Client, profile_data: dict[str, str], typed: str, kept: str
) -> None:
    member.post("/profile/new/", {**profile_data, "website": typed})
    assert Profile.objects.get().website == kept


def test_nobody_is_born_tomorrow(member: Client, profile_data: dict[str, str]) -> None:
    today = timezone.localdate()
    tomorrow = today + datetime.timedelta(days=1)
    assert set(errors(member, {**profile_data, "birthday": tomorrow.isoformat()})) == {"birthday"}
    assert member.post("/profile/new/", {**profile_data, "birthday": today.isoformat()}).status_code == 302


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", "x" * 121),
        ("company", "x" * 121),
        ("job_title", "x" * 121),
        ("address", "x" * 256),
        ("email", "x" * 250 + "@x.example"),
        ("website", "https://x.example/" + "x" * 200),
        ("bio", "x" * 10_001),
        ("email", "nobody"),
        ("birthday", "2023-02-29"),
        ("birthday", "0000-00-00"),
        ("name", "a\x00b"),
        ("company", "a\x00b"),
        ("bio", "a\x00b"),
    ],
)
def test_what_does_not_fit_is_refused_at_its_field(
    member: Client, profile_data: dict[str, str], field: str, value: str
) -> None:
    assert set(errors(member, {**profile_data, field: value})) == {field}


@pytest.mark.parametrize("text", ["👩‍👩‍👧 Zoë", "山田 太郎", "محمد", "é" * 120, "𝔘𝔫𝔦𝔠𝔬𝔡𝔢", "%s {{ x }} \\n"])
def test_any_script_and_emoji_come_back_as_typed(member: Client, profile_data: dict[str, str], text: str) -> None:
    data = {**profile_data, "name": text, "company": text, "job_title": text, "bio": text * 50}
    response = member.post("/profile/new/", data, follow=True)
    assert response.status_code == 200
    person = Profile.objects.get()
    assert (person.name, person.company.name, person.job_title.name, person.bio) == (text, text, text, text * 50)
    assert text in response.text


def test_a_refused_form_keeps_what_was_typed(member: Client, profile_data: dict[str, str]) -> None:
    response = member.post("/profile/new/", {**profile_data, "email": "nobody"})
    assert "Mostly maps." in response.text
    assert 'value="1980-02-29"' in response.text
