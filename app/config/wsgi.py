"""The WSGI application, warm when it is handed out."""

import os

from django.core.wsgi import get_wsgi_application
from django.urls import get_resolver

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

application = get_wsgi_application()
# Django loads views on the first request; loading them here spares a visitor that and fails a broken release at once.
get_resolver().url_patterns  # noqa: B018
