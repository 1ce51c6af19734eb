"""The project's settings, with those over them that belong to the site: they come from the environment.

Taken as the settings module where app_settings_adapted is true; it lies in the release's source directory. What the
project has chosen itself is left alone: a cache, a session engine, a storage for static files or logging of its own.
"""

import importlib
import json
import os
from typing import Any

import django

_project = importlib.import_module(os.environ["HUGPROOF_SETTINGS_MODULE"])
globals().update({name: getattr(_project, name) for name in dir(_project) if name.isupper()})


def _own(name: str, default: Any = None) -> Any:  # noqa: ANN401 - whatever a setting is
    return getattr(_project, name, default)


_https = os.environ["DJANGO_HTTPS"] == "true"

DEBUG = os.environ["DJANGO_DEBUG"] == "true"
SECRET_KEY = os.environ["DJANGO_SECRET_KEY"]
ALLOWED_HOSTS = os.environ["DJANGO_ALLOWED_HOSTS"].split(",")

# A project's own rule for TLS holds where there is TLS.
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = _https
SECURE_SSL_REDIRECT = _https and bool(_own("SECURE_SSL_REDIRECT"))
if _https:
    # It ends at the edge, which redirects http itself and overwrites X-Forwarded-Proto on every request.
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")

# The address and the password are libpq's business: PGHOST, PGPORT, PGUSER, PGPASSWORD.
_database = (_own("DATABASES") or {}).get("default", {})
_is_postgresql = "postg" in _database.get("ENGINE", "")  # postgis as well
_options = {"connect_timeout": 3} | (_database.get("OPTIONS", {}) if _is_postgresql else {})
DATABASES = {
    **(_own("DATABASES") or {}),
    "default": {
        "CONN_MAX_AGE": 0 if _options.get("pool") else 60,
        "CONN_HEALTH_CHECKS": True,
        # A connection that others use between two transactions has no cursor that outlives one.
        "DISABLE_SERVER_SIDE_CURSORS": os.environ.get("DJANGO_DISABLE_SERVER_SIDE_CURSORS") == "true",
        **({"ATOMIC_REQUESTS": _database["ATOMIC_REQUESTS"]} if "ATOMIC_REQUESTS" in _database else {}),
        "ENGINE": _database["ENGINE"] if _is_postgresql else "django.db.backends.postgresql",
        "NAME": os.environ["PGDATABASE"],
        # Another server, or another password, is none of the project's business here.
        "OPTIONS": {name: value for name, value in _options.items() if name not in {"service", "passfile"}},
    },
}

# Some applications, Wagtail's search for one, want it as soon as the database is PostgreSQL.
INSTALLED_APPS = list(_own("INSTALLED_APPS", []))
if not _is_postgresql and "django.contrib.postgres" not in INSTALLED_APPS:
    INSTALLED_APPS.append("django.contrib.postgres")

# A dead memcached costs a quarter of a second once, then nothing until dead_timeout: a miss, never an error.
_caches = _own("CACHES") or {}
if "default" not in _caches or "locmem" in _caches["default"].get("BACKEND", ""):
    CACHES = {
        **_caches,
        "default": {
            "BACKEND": "django.core.cache.backends.memcached.PyMemcacheCache",
            "LOCATION": os.environ["MEMCACHED_SERVERS"].split(","),
            "KEY_PREFIX": os.environ["PGDATABASE"],
            "OPTIONS": {
                "no_delay": True,
                "connect_timeout": 0.25,
                "timeout": 0.25,
                "ignore_exc": True,
                "retry_attempts": 1,
                "retry_timeout": 1,
                "dead_timeout": 10,
            },
        },
    }

STATIC_URL = os.environ["DJANGO_STATIC_URL"]
STATIC_ROOT = os.environ["DJANGO_STATIC_ROOT"]
MEDIA_ROOT = os.environ["DJANGO_MEDIA_ROOT"]
if os.environ["DJANGO_MEDIA_URL"]:
    MEDIA_URL = os.environ["DJANGO_MEDIA_URL"]
# Names with a digest: pages of an earlier release, in caches still, find the files they were made with.
_named = "hugproof_static.StaticFilesStorage"
_plain = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
if django.VERSION < (4, 2) or (django.VERSION < (5, 1) and hasattr(_project, "DEFAULT_FILE_STORAGE")):
    STATICFILES_STORAGE = _own("STATICFILES_STORAGE", _named)
elif not hasattr(_project, "STATICFILES_STORAGE") and _own("STORAGES", {}).get("staticfiles", _plain) == _plain:
    STORAGES = {
        "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
        **_own("STORAGES", {}),
        "staticfiles": {"BACKEND": _named},
    }

# Django's own mails errors to the administrators, and says nothing on standard error: the journal has to know.
if not _own("LOGGING"):
    LOGGING = {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"plain": {"format": "%(levelname)s %(name)s: %(message)s"}},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "plain"}},
        "root": {"handlers": ["stderr"], "level": "INFO"},
        "loggers": {"django": {"handlers": [], "level": "INFO"}, "django.request": {"level": "ERROR"}},
    }

globals().update(json.loads(os.environ["HUGPROOF_SETTINGS"]))
