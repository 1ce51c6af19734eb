"""The site's own settings, with what a test run may make up: everything but its servers."""

import os
import tempfile

from django.core.management.utils import get_random_secret_key

os.environ.setdefault("DJANGO_SECRET_KEY", get_random_secret_key())
os.environ.setdefault("DJANGO_ALLOWED_HOSTS", "testserver")

from config.settings import *  # noqa: F403

# Filled by collectstatic at the start of a run, so that pages are made with the manifest as on a host.
STATIC_ROOT = tempfile.mkdtemp(prefix="people-static-")
