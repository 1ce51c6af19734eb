"""Settings of the people directory. Everything that differs between hosts comes from the environment.

The database is libpq's business: PGHOST, PGPORT, PGUSER, PGPASSWORD are read by libpq itself, so
several comma-separated hosts in PGHOST, a ~/.pgpass or PGSSLMODE work without a line here.
"""

import os
from pathlib import Path
from typing import Any

from config.environment import comma_separated, flag, required, whole_number

BASE_DIR = Path(__file__).resolve().parent.parent

SECRET_KEY = required("DJANGO_SECRET_KEY")
DEBUG = flag("DJANGO_DEBUG")
HTTPS = flag("DJANGO_HTTPS")
ALLOWED_HOSTS = comma_separated("DJANGO_ALLOWED_HOSTS")

INSTALLED_APPS = [
    "people",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
]

MIDDLEWARE = [
    # Outside EdgeCacheMiddleware: a 304 keeps its Cache-Control, and no-store pages are not hashed for an ETag.
    "django.middleware.http.ConditionalGetMiddleware",
    "people.middleware.EdgeCacheMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "people.sessions.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

ROOT_URLCONF = "config.urls"
WSGI_APPLICATION = "config.wsgi.application"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

TEMPLATES: list[dict[str, Any]] = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "people.context_processors.viewer",
            ],
        },
    },
]

DATABASES: dict[str, dict[str, Any]] = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": os.environ.get("PGDATABASE") or "people",
        "CONN_MAX_AGE": 60,
        "CONN_HEALTH_CHECKS": True,
        "DISABLE_SERVER_SIDE_CURSORS": flag("DJANGO_DISABLE_SERVER_SIDE_CURSORS"),
        "OPTIONS": {"connect_timeout": 3},
    },
}

CACHES: dict[str, dict[str, Any]] = {
    "default": {
        "BACKEND": "people.cache.PersistentPyMemcacheCache",
        "LOCATION": comma_separated("MEMCACHED_SERVERS", default="127.0.0.1:11211"),
        "KEY_PREFIX": "people",
        # A dead memcached costs a quarter of a second once, then nothing until dead_timeout: a miss, never an error.
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

SESSION_ENGINE = "people.sessions"
SESSION_SAVE_EVERY_REQUEST = False  # saving sends a cookie, and a response with a cookie is not cacheable
# Messages live in the session: caches in front keep the session cookie and may drop every other one.
MESSAGE_STORAGE = "django.contrib.messages.storage.session.SessionStorage"

# How long, in seconds, a shared cache may serve an anonymous page without asking again.
EDGE_CACHE_SECONDS = 5

LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "home"
LOGOUT_REDIRECT_URL = "home"
PASSWORD_HASHERS = [
    "people.hashers.OwaspArgon2PasswordHasher",
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",  # so that an imported user table still logs in
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator"},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.NumericPasswordValidator"},
]

LANGUAGE_CODE = os.environ.get("LANGUAGE_CODE") or "en"
TIME_ZONE = os.environ.get("TIME_ZONE") or "UTC"
USE_TZ = True

STATIC_URL = "/static/"
STATIC_ROOT = os.environ.get("DJANGO_STATIC_ROOT") or BASE_DIR / "staticfiles"
MEDIA_URL = "/media/"
MEDIA_ROOT = os.environ.get("DJANGO_MEDIA_ROOT") or BASE_DIR / "media"
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.ManifestStaticFilesStorage"},
}

# TLS ends at the edge, which redirects http itself and overwrites X-Forwarded-Proto on every request;
# Django's own redirect is the second line for a request that came past it. Probes come without TLS.
if HTTPS:
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    SECURE_SSL_REDIRECT = True
    SECURE_REDIRECT_EXEMPT = [r"^-/"]
    SECURE_HSTS_SECONDS = whole_number("DJANGO_HSTS_SECONDS", default=3600)
    SESSION_COOKIE_SECURE = True
    CSRF_COOKIE_SECURE = True
# Subdomains and the browsers' preload list bind hosts this site knows nothing of: the domain owner's decision.
SILENCED_SYSTEM_CHECKS = ["security.W005", "security.W021"]

LOGGING: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    # No time: journald has it.
    "formatters": {"plain": {"format": "%(levelname)s %(name)s: %(message)s"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "plain"}},
    "root": {"handlers": ["stderr"], "level": "INFO"},
    "loggers": {
        # Replaces Django's default handlers, which mail the administrators.
        "django": {"handlers": [], "level": "INFO", "propagate": True},
        # Every 404 would be a line; the edge's access log has them.
        "django.request": {"level": "ERROR"},
    },
}
