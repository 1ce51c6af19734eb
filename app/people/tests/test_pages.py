"""What visitors see."""

import datetime

import pytest
from django.db import connection
from django.test import Client
from pytest_django import DjangoAssertNumQueries

from people.models import Company, JobTitle, Profile
from people.tests.conftest import MakeProfile
from people.views import LAST_PAGE, PAGE_SIZE

pytestmark = pytest.mark.django_db

MOMENT = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)


def add_people(count: int) -> None:
    company, job_title = Company.named("Oak Rail"), JobTitle.named("Designer")
    Profile.objects.bulk_create(
        Profile(name=f"Person {number}.", email="p@oak-rail.example", company=company, job_title=job_title)
        for number in range(1, count + 1)
    )


def names(client: Client, address: str) -> list[str]:
    return [person.name for person in client.get(address).context["profiles"]]


def test_home_shows_the_newest_first_and_equals_by_id(client: Client, make_profile: MakeProfile) -> None:
    make_profile("Old", created=MOMENT)
    make_profile("New, first", created=MOMENT + datetime.timedelta(days=1))
    make_profile("New, second", created=MOMENT + datetime.timedelta(days=1))
    assert names(client, "/") == ["New, second", "New, first", "Old"]


def test_home_of_an_empty_directory_says_so(client: Client) -> None:
    response = client.get("/")
    assert response.status_code == 200
    assert "Nobody is in the directory yet" in response.content.decode()


def test_pages_follow_one_another_without_gap_or_overlap(client: Client) -> None:
    add_people(2 * PAGE_SIZE + 1)
    seen = names(client, "/") + names(client, "/?page=2") + names(client, "/?page=3")
    assert seen == [f"Person {number}." for number in range(2 * PAGE_SIZE + 1, 0, -1)]


def test_only_pages_that_exist_are_linked(client: Client) -> None:
    add_people(2 * PAGE_SIZE)
    first, second = client.get("/").content.decode(), client.get("/?page=2").content.decode()
    assert 'rel="next" href="?page=2"' in first
    assert 'rel="prev"' not in first
    assert 'rel="prev" href="/"' in second
    assert 'rel="next"' not in second


def test_the_last_page_that_is_served_links_no_further(client: Client) -> None:
    add_people(LAST_PAGE * PAGE_SIZE + 1)
    page = client.get(f"/?page={LAST_PAGE}")
    assert page.status_code == 200
    assert 'rel="next"' not in page.content.decode()
    assert client.get(f"/?page={LAST_PAGE + 1}").status_code == 404


@pytest.mark.parametrize("page", ["0", "2", "-1", "01", "", "x", "1.0", "+1", " 1", "١", "1\n", "9" * 5000])
def test_a_page_that_does_not_exist_is_not_found(client: Client, make_profile: MakeProfile, page: str) -> None:
    make_profile()
    assert client.get("/", {"page": page}).status_code == 404


def test_a_profile_shows_everything_about_a_person(client: Client, make_profile: MakeProfile) -> None:
    person = make_profile(
        address="1 Mill Lane, Gdańsk",
        website="https://ada.example/",
        birthday=datetime.date(1990, 5, 4),
        bio="First.\n\nSecond.",
    )
    text = client.get(f"/profile/{person.pk}/").content.decode()
    for part in (
        "<h1>Ada Byron</h1>",
        "Editor at Amber Mills",
        'href="mailto:ada@amber-mills.example"',
        'href="https://ada.example/"',
        "1 Mill Lane, Gdańsk",
        "4 May 1990",
        "<p>First.</p>",
        "<p>Second.</p>",
    ):
        assert part in text


def test_a_profile_links_colleagues_and_people_with_the_same_job_each_once(
    client: Client, make_profile: MakeProfile
) -> None:
    person = make_profile()
    both = make_profile("Both")
    colleague = make_profile("Colleague", job_title="Nurse")
    peer = make_profile("Peer", company="Pine Press")
    make_profile("Stranger", company="Pine Press", job_title="Nurse")
    context = client.get(f"/profile/{person.pk}/").context
    assert list(context["colleagues"]) == [colleague, both]
    assert list(context["peers"]) == [peer]


def test_a_profile_links_at_most_twenty_people(client: Client) -> None:
    add_people(30)
    person = Profile.objects.get(name="Person 30.")
    text = client.get(f"/profile/{person.pk}/").content.decode()
    assert text.count('<a class="card"') == 20
    assert f'href="/profile/{person.pk}/"' not in text


@pytest.mark.parametrize("key", ["0", "4711", "9" * 30, "9" * 5000, "x", "-1"])
def test_a_profile_that_does_not_exist_is_not_found(client: Client, db: None, key: str) -> None:
    response = client.get(f"/profile/{key}/")
    assert response.status_code == 404
    assert "Nobody here" in response.content.decode()


def test_what_people_write_about_themselves_is_text_and_never_html(client: Client, make_profile: MakeProfile) -> None:
    evil = "<script>alert(1)</script>"
    person = make_profile(evil, company=f"Company {evil}", job_title=f"Title {evil}", bio=evil, address=evil)
    for address in ("/", f"/profile/{person.pk}/"):
        text = client.get(address).content.decode()
        assert "<script" not in text
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text


def test_a_mail_address_cannot_add_headers_to_the_mail(client: Client, make_profile: MakeProfile) -> None:
    person = make_profile(email="a?bcc=all&x=y@amber-mills.example")
    assert 'href="mailto:a%3Fbcc%3Dall%26x%3Dy@amber-mills.example"' in client.get(person.get_absolute_url()).text


@pytest.mark.parametrize(
    ("name", "initials"),
    [
        ("Ada", "A"),
        ("Ada Byron", "AB"),
        ("ada king of lovelace", "AL"),
        ("łukasz o'brien", "ŁO"),
        ("", ""),
        ("🎉", "🎉"),
    ],
)
def test_initials_are_of_the_first_and_the_last_name(name: str, initials: str) -> None:
    assert Profile(name=name).initials == initials


def test_home_takes_one_query(
    client: Client, make_profile: MakeProfile, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    add_people(2 * PAGE_SIZE)
    with django_assert_num_queries(1) as queries:
        client.get("/")
    assert '"bio"' not in queries.captured_queries[0]["sql"]


def test_a_profile_takes_three_queries(client: Client, django_assert_num_queries: DjangoAssertNumQueries) -> None:
    add_people(30)
    person = Profile.objects.latest("id")
    with django_assert_num_queries(3):
        client.get(f"/profile/{person.pk}/")


def test_a_logged_in_visitor_costs_one_query_more_for_he_is_in_the_cache(
    member: Client, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    member.get("/")
    with django_assert_num_queries(2):  # the profiles and the user; the session comes from memcached
        member.get("/")


def test_no_page_reads_a_table_from_end_to_end(make_profile: MakeProfile) -> None:
    """PostgreSQL has an index for each list, in its order: with sequential scans and sorts ruled out none is left."""
    person = make_profile()
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off; SET LOCAL enable_sort = off; SET LOCAL enable_bitmapscan = off")
    for index, people in {
        "profile_newest": Profile.objects.newest()[:PAGE_SIZE],
        "profile_company_newest": person.colleagues()[:10],
        "profile_job_title_newest": person.peers(besides=[])[:10],
    }.items():
        plan = people.explain()
        assert index in plan, plan
        assert "Sort" not in plan, plan


def test_the_page_for_a_broken_site_needs_nothing_of_the_site(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr(Profile.objects.__class__, "newest", fail)
    client.raise_request_exception = False
    response = client.get("/")
    assert response.status_code == 500
    assert "Something went wrong" in response.text
    assert "broken" not in response.text
    assert "max-age" not in response.get("Cache-Control", "")


@pytest.mark.parametrize("address", ["/admin/people/profile/", "/admin/people/company/", "/admin/people/jobtitle/"])
def test_the_admin_lists_what_is_in_the_directory(
    admin_client: Client, make_profile: MakeProfile, address: str
) -> None:
    make_profile("Ada Byron", company="Ada Byron", job_title="Ada Byron")
    response = admin_client.get(address, {"q": "Ada"})
    assert response.status_code == 200
    assert "Ada Byron" in response.text


def test_the_admin_edits_a_profile(admin_client: Client, make_profile: MakeProfile) -> None:
    person = make_profile()
    assert admin_client.get(f"/admin/people/profile/{person.pk}/change/").status_code == 200
