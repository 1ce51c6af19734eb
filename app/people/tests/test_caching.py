"""Which pages a cache in front may share, and that none of them belongs to anybody."""

import pytest
from django.test import Client

from people.tests.conftest import PASSWORD, MakeProfile

SHARED = "s-maxage=5, max-age=0"
PERSONAL = "private, no-store"

pytestmark = pytest.mark.django_db


@pytest.fixture(params=["home", "profile"])
def page(request: pytest.FixtureRequest, make_profile: MakeProfile) -> str:
    person = make_profile()
    return {"home": "/", "profile": person.get_absolute_url()}[request.param]


def test_an_anonymous_page_may_be_shared_and_is_nobodys(client: Client, page: str) -> None:
    response = client.get(page)
    assert response["Cache-Control"] == SHARED
    assert "Set-Cookie" not in response
    assert not response.cookies
    assert "Vary" not in response
    assert "csrf" not in response.text


def test_the_answer_to_head_has_the_headers_of_get(client: Client, page: str) -> None:
    response = client.head(page)
    assert response["Cache-Control"] == SHARED
    assert not response.content


def test_an_anonymous_page_is_the_same_each_time_and_need_not_be_sent_again(client: Client, page: str) -> None:
    first = client.get(page)
    again = client.get(page, headers={"if-none-match": first["ETag"]})
    assert again.status_code == 304
    assert not again.content
    assert again["Cache-Control"] == SHARED


def test_cookies_that_are_not_a_session_do_not_make_a_page_private(client: Client, page: str) -> None:
    client.cookies.load({"_ga": "GA1.1.1", "csrftoken": "x" * 32, "messages": "x"})
    response = client.get(page)
    assert response["Cache-Control"] == SHARED
    assert "Vary" not in response


def test_a_logged_in_visitors_page_is_his_own(member: Client, page: str) -> None:
    response = member.get(page)
    assert response["Cache-Control"] == PERSONAL
    assert "Cookie" in response["Vary"]
    assert "ETag" not in response
    assert "grace" in response.text
    assert "Log out" in response.text


@pytest.mark.parametrize("session", ["", "made-up"])
def test_a_page_for_a_session_that_does_not_exist_is_not_shared(client: Client, page: str, session: str) -> None:
    client.cookies["sessionid"] = session
    response = client.get(page)
    assert response["Cache-Control"] == PERSONAL
    assert "Log in" in response.text


def test_a_page_for_http_credentials_is_not_shared(client: Client, page: str) -> None:
    assert client.get(page, headers={"authorization": "Basic eDp5"})["Cache-Control"] == PERSONAL


@pytest.mark.parametrize("address", ["/login/", "/profile/new/", "/admin/", "/admin/login/", "/-/ready/", "/-/live/"])
def test_forms_redirects_to_them_and_probes_are_never_stored(client: Client, address: str) -> None:
    assert "no-store" in client.get(address)["Cache-Control"]


@pytest.mark.parametrize("address", ["/nowhere/", "/profile/4711/", "/?page=7"])
def test_a_page_that_does_not_exist_is_nobodys_and_not_marked(client: Client, address: str) -> None:
    response = client.get(address)
    assert response.status_code == 404
    assert not response.cookies
    assert "Cache-Control" not in response


def test_the_answer_that_logs_a_visitor_in_is_not_shared(client: Client, user: object) -> None:
    response = client.post("/login/", {"username": "grace", "password": PASSWORD})
    assert response.status_code == 302
    assert "sessionid" in response.cookies
    assert "private" in response["Cache-Control"]


def test_the_answer_that_logs_a_visitor_out_is_not_shared_and_the_next_page_is(member: Client) -> None:
    response = member.post("/logout/")
    assert "private" in response["Cache-Control"]
    assert response.cookies["sessionid"]["max-age"] == 0
    del member.cookies["sessionid"]  # as a browser does then
    response = member.get("/")
    assert response["Cache-Control"] == SHARED
    assert "Log in" in response.text
