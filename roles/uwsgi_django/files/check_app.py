"""Look at a Django project as the site will run it: check_app.py HOST COOKIE STATIC_URL NEVER_CACHED HEALTH PATH...

Run in the source directory, with the release's environment, a database of its own (SQLite) and a cache in memory.
COOKIE is the session's, NEVER_CACHED a list of path prefixes in JSON, HEALTH the path that has to be answered below
400. Follows links from the paths, as somebody without a session does.
Prints JSON: {"breaks": [SENTENCE...], "costs": [SENTENCE...], "looked_at": [PATH...]}. What breaks keeps the project
from working here; what costs makes pages go to the application that could be cached.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import tempfile
import types
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

PAGES = 40  # as many are looked at
# What the edge does for the application, or leaves to the domain's owner.
NOT_OURS = {"security.W004", "security.W005", "security.W008", "security.W021"}
HARMLESS_VARY = {"accept-encoding", "cookie", "origin"}
LOCAL = ("django.", "whitenoise.", "hugproof_static.")  # storages that keep files on this host
UNCACHEABLE = {"private", "no-store", "no-cache", "max-age=0", "s-maxage=0"}

sys.path.insert(0, str(Path.cwd()))
host, session_cookie, static_url, never_cached, health, *paths = sys.argv[1:]
prefixes = tuple(json.loads(never_cached))
breaks: list[str] = []
costs: list[str] = []
looked_at: list[str] = []


class Links(HTMLParser):
    """The targets of the links of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.targets: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note the target of a link, without what it names on its page."""
        target = dict(attrs).get("href") if tag == "a" else None
        if target := (target or "").partition("#")[0]:
            self.targets.append(target)


def settings_of_its_own(directory: str) -> None:
    """Put a database and a cache of this process's own over the project's settings."""
    project = importlib.import_module(os.environ["DJANGO_SETTINGS_MODULE"])
    names = {name: getattr(project, name) for name in dir(project) if name.isupper()}
    check_static_files(names)
    names["DATABASES"] = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": f"{directory}/check.sqlite3"}}
    names["DATABASE_ROUTERS"] = []
    caches = set(names.get("CACHES", {})) | {"default"}
    names["CACHES"] = {
        name: {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "LOCATION": name} for name in caches
    }
    names |= {
        "STATIC_ROOT": f"{directory}/static",
        "MEDIA_ROOT": f"{directory}/media",
        "CELERY_TASK_ALWAYS_EAGER": True,
    }
    # Files stay here: not in a bucket that the site uses.
    for storage in names.get("STORAGES", {}).values():
        if not storage["BACKEND"].startswith(LOCAL):
            storage |= {"BACKEND": "django.core.files.storage.FileSystemStorage", "OPTIONS": {}}
    for setting in {"STATICFILES_STORAGE", "DEFAULT_FILE_STORAGE"} & set(names):
        if not names[setting].startswith(LOCAL):
            names[setting] = "django.core.files.storage.FileSystemStorage"
    names["EMAIL_BACKEND"] = "django.core.mail.backends.dummy.EmailBackend"
    module = types.ModuleType("hugproof_check")
    vars(module).update(names)
    sys.modules["hugproof_check"] = module
    os.environ["DJANGO_SETTINGS_MODULE"] = "hugproof_check"


def check_static_files(project: dict[str, Any]) -> None:
    """Whether uWSGI serves what the project's settings say; files in a bucket are not its business."""
    storages = [project.get("STATICFILES_STORAGE"), project.get("STORAGES", {}).get("staticfiles", {}).get("BACKEND")]
    collected = any(app.startswith("django.contrib.staticfiles") for app in project.get("INSTALLED_APPS", []))
    if not collected or not all(storage.startswith(LOCAL) for storage in storages if storage):
        return
    root, url = str(project.get("STATIC_ROOT") or ""), str(project.get("STATIC_URL") or "")
    if Path(root) != Path(os.environ["DJANGO_STATIC_ROOT"]):
        breaks.append(
            f"STATIC_ROOT is {root!r}, where uWSGI does not look: let the settings take it from DJANGO_STATIC_ROOT, or "
            "write app_settings_adapted: true."
        )
    if "//" not in url and url.strip("/") != static_url.strip("/"):
        breaks.append(f"app_static_url is '{static_url}', and STATIC_URL '{url}': write app_static_url.")


def check_deployment() -> None:
    """What `manage.py check --deploy` finds."""
    from django.conf import settings
    from django.core import checks

    if session_cookie != settings.SESSION_COOKIE_NAME:
        breaks.append(
            f"app_session_cookie is '{session_cookie}', and SESSION_COOKIE_NAME '{settings.SESSION_COOKIE_NAME}': the "
            f"cache would give everybody what somebody with a session sees. Write app_session_cookie."
        )
    for message in checks.run_checks(include_deployment_checks=True):
        if message.id in NOT_OURS or message.is_silenced():
            continue
        said = " ".join(filter(None, [str(message.msg), str(message.hint or "")]))
        found = f"check --deploy: {message.id}: {' '.join(said.split())}"
        (breaks if message.level >= checks.ERROR else costs).append(found)


def prepare() -> bool:
    """Collect static files and make tables; whether pages can be asked for."""
    from django.core.management import call_command

    try:
        call_command("collectstatic", interactive=False, verbosity=0)
    except Exception as error:
        breaks.append(f"collectstatic fails: {error}. A file that CSS names is missing, or STATICFILES_DIRS is wrong.")
    try:
        call_command("migrate", interactive=False, verbosity=0)
    except Exception as error:
        costs.append(f"Pages were not looked at: the migrations do not run on SQLite, which stands in here ({error}).")
        return False
    return True


def look_at(path: str) -> list[str]:
    """Ask for a page without a session, note what is the matter with it, and return the paths that it links to."""
    from django.test import Client

    looked_at.append(path)
    client = Client(raise_request_exception=False, HTTP_HOST=host)
    answer = client.get(path, secure=os.environ["DJANGO_HTTPS"] == "true")
    if answer.status_code == 400 or answer.status_code >= 500:
        reason = getattr(answer, "exc_info", None)
        breaks.append(f"{path} is answered with {answer.status_code}{f': {reason[1]!r}' if reason else ''}.")
    elif answer.status_code > 400 and path == health:
        breaks.append(f"app_health_path is '{path}', which is answered with {answer.status_code}: write one below 400.")
    elif answer.status_code == 404 and path in paths:
        costs.append(f"{path} is answered with 404, which tells little of a release: write app_smoke_paths.")
    if answer.status_code in {301, 302, 307, 308}:
        return [answer["Location"]]
    if answer.status_code != 200:
        return []
    if answer.streaming:
        return []
    body = answer.content.decode(errors="replace")
    if not path.startswith(prefixes):
        note_what_costs(path, answer, body)
    return Links(body).targets if "html" in answer.get("Content-Type", "") else []


def note_what_costs(path: str, answer: types.SimpleNamespace, body: str) -> None:
    """Note what keeps an anonymous page out of the cache, or makes many copies of it."""
    for name in answer.cookies:
        what = "starts a session" if name == session_cookie else f"sets the cookie {name}"
        costs.append(
            f"{path} {what} for somebody who has none: it is never cached. Set cookies when somebody acts, not when he "
            f"looks; or, if it has to be, write its path into app_never_cached."
        )
    if "csrfmiddlewaretoken" in body:
        costs.append(
            f"{path} has a form with a CSRF token, which is of one visitor: it is never cached. Move the form to a "
            f"page of its own, or fetch it when it is opened; write that page's path into app_never_cached."
        )
    vary = {name.strip().lower() for name in answer.get("Vary", "").split(",") if name.strip()}
    if others := vary - HARMLESS_VARY:
        costs.append(
            f"{path} has Vary: {', '.join(sorted(others))}: the cache keeps a copy for each value (of *, none). Tell "
            f"languages or devices apart by the URL."
        )
    control = {word.strip().lower() for word in answer.get("Cache-Control", "").split(",")}
    if found := control & UNCACHEABLE:
        costs.append(
            f"{path} has Cache-Control: {', '.join(sorted(found))}: it is never cached. If everybody gets the same, "
            f"say so with s-maxage (cache_control or patch_cache_control)."
        )


def look_around() -> None:
    """Look at the paths and at what they link to, until enough was seen."""
    waiting = list(dict.fromkeys(["/", health, *paths]))
    while waiting and len(looked_at) < PAGES:
        path = waiting.pop(0)
        try:
            links = look_at(path)
        except Exception as error:
            breaks.append(f"{path} could not be asked for: {error!r}.")
            continue
        for link in links:
            try:
                url = urlsplit(urljoin(f"https://{host}{path}", link))
            except ValueError:
                costs.append(f"{path} has a link that is none: {link!r}.")
                continue
            target = url.path + (f"?{url.query}" if url.query else "")
            if url.hostname == host and url.scheme in {"http", "https"} and target not in {*looked_at, *waiting}:
                waiting.append(target)


def starts(directory: str) -> bool:
    """Set Django up; whether it does."""
    try:
        settings_of_its_own(directory)
        import django

        django.setup()
    except (Exception, SystemExit) as error:
        breaks.append(f"The project does not start: {type(error).__name__}: {error}")
        return False
    return True


with tempfile.TemporaryDirectory() as directory:
    if starts(directory):
        check_deployment()
        if prepare():
            look_around()
print(json.dumps({"breaks": breaks, "costs": costs, "looked_at": looked_at}))
