"""The pages of the directory, and the two addresses that probes ask."""

import re

from django.contrib import messages
from django.contrib.auth.mixins import LoginRequiredMixin
from django.db import DatabaseError, InterfaceError, connection
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.utils.decorators import method_decorator
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from django.views.generic import CreateView

from people.forms import ProfileForm
from people.models import Profile

PAGE_SIZE = 20
# The home page is a list of the newest, not a way to everybody: at most LAST_PAGE * PAGE_SIZE index entries are
# read, whatever the size of the table, and nothing is counted.
LAST_PAGE = 50
RELATED_OF_EACH_KIND = 10


@require_safe
def home(request: HttpRequest) -> HttpResponse:
    """The newest profiles, PAGE_SIZE a page; one query."""
    page = page_number(request.GET.get("page", "1"))
    start = (page - 1) * PAGE_SIZE
    # One more than is shown tells whether there is another page.
    profiles = list(Profile.objects.newest()[start : start + PAGE_SIZE + 1])
    if page > 1 and not profiles:
        raise Http404("There is no such page.")
    context = {
        "profiles": profiles[:PAGE_SIZE],
        "page": page,
        "newer_page": page - 1,
        "older_page": page + 1 if len(profiles) > PAGE_SIZE and page < LAST_PAGE else None,
    }
    return render(request, "people/home.html", context)


def page_number(text: str) -> int:
    """Parse `?page=`; raise Http404 unless it is 1 to LAST_PAGE, written the one usual way (caches go by the text)."""
    if not re.fullmatch(r"[1-9][0-9]{0,3}", text, re.ASCII) or int(text) > LAST_PAGE:
        raise Http404("There is no such page.")
    return int(text)


@require_safe
def profile(request: HttpRequest, pk: int) -> HttpResponse:
    """One person with up to 20 related people; three queries, each of an index's first few entries."""
    person = get_object_or_404(Profile.objects.select_related("company", "job_title"), pk=pk)
    colleagues = list(person.colleagues()[:RELATED_OF_EACH_KIND])
    peers = person.peers(besides=colleagues)[:RELATED_OF_EACH_KIND]
    context = {"profile": person, "colleagues": colleagues, "peers": peers}
    return render(request, "people/profile.html", context)


@method_decorator(never_cache, name="dispatch")
class NewProfileView(LoginRequiredMixin, CreateView):
    """The form for a new profile, for anybody who is logged in."""

    form_class = ProfileForm
    template_name = "people/profile_form.html"

    def form_valid(self, form: ProfileForm) -> HttpResponse:
        form.instance.created_by = self.request.user
        response = super().form_valid(form)
        messages.success(self.request, f"{form.instance.name} is in the directory now.")
        return response


@never_cache
@require_safe
def live(request: HttpRequest) -> HttpResponse:
    """The process answers; nothing else is asked."""
    return HttpResponse("ok\n", content_type="text/plain")


@never_cache
@require_safe
def ready(request: HttpRequest) -> HttpResponse:
    """Whether pages can be made: the database answers. A dead memcached only costs speed, so it is not asked."""
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except (DatabaseError, InterfaceError):
        return HttpResponse("the database does not answer\n", status=503, content_type="text/plain")
    return HttpResponse("ok\n", content_type="text/plain")
