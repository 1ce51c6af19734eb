"""Import a release and collect its static files: python build.py WSGI_MODULE ARCHIVE STATIC_URL SESSION_COOKIE.

ARCHIVE gets the static files as well: cached pages find them there when the release is gone. The last two are what
uWSGI and the edge go by; the settings have to say the same. Run in the release's source directory, with its
environment. Ends with a sentence, or the application's own traceback, when that does not work.
"""

import importlib
import os
import shutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path.cwd()))
module, archive, static_url, session_cookie = sys.argv[1:]
settings_module, static = os.environ["DJANGO_SETTINGS_MODULE"], os.environ["DJANGO_STATIC_ROOT"]
try:
    imported = importlib.import_module(module)
except SystemExit as ended:
    sys.exit(f"app_wsgi_module: {module} ends the process when it is imported, with {ended.code!r}")
if not callable(getattr(imported, "application", None)):
    sys.exit(f"app_wsgi_module: {module} has no callable named application")
from django.apps import apps  # noqa: E402 - the module above has set Django up
from django.conf import settings  # noqa: E402
from django.core.files.storage import FileSystemStorage  # noqa: E402
from django.core.management import call_command  # noqa: E402

if settings_module != settings.SETTINGS_MODULE:
    sys.exit(
        f"app_wsgi_module: {module} sets DJANGO_SETTINGS_MODULE to {settings.SETTINGS_MODULE}, whatever it was. "
        "Write os.environ.setdefault there, as Django's own starter does."
    )
if session_cookie != settings.SESSION_COOKIE_NAME:
    sys.exit(
        f"app_session_cookie is '{session_cookie}', and SESSION_COOKIE_NAME '{settings.SESSION_COOKIE_NAME}': what "
        "somebody with a session sees would be cached for everybody. Write app_session_cookie."
    )
if apps.is_installed("django.contrib.staticfiles"):
    from django.contrib.staticfiles.storage import staticfiles_storage

    # Files that go to another machine, a bucket say, are not uWSGI's to serve.
    if isinstance(staticfiles_storage, FileSystemStorage):
        if Path(str(settings.STATIC_ROOT or "")) != Path(static):
            sys.exit(
                f"STATIC_ROOT is {str(settings.STATIC_ROOT)!r}, where the application may not write and uWSGI does not "
                "look. Let the settings take it from the environment, as DJANGO_STATIC_ROOT, or have it put over them: "
                "app_settings_adapted: true."
            )
        if "//" not in settings.STATIC_URL and settings.STATIC_URL.rstrip("/") != static_url.rstrip("/"):
            sys.exit(
                f"app_static_url is '{static_url}', and STATIC_URL '{settings.STATIC_URL}': uWSGI would not serve what "
                "pages ask for. Write app_static_url."
            )
    call_command("collectstatic", interactive=False, verbosity=0)
    shutil.copytree(static, archive, copy_function=shutil.copy, dirs_exist_ok=True)
