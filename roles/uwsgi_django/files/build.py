"""Import a release and collect its static files, in one process: python build.py WSGI_MODULE ARCHIVE.

ARCHIVE gets the static files as well: cached pages find them there when the release is gone. Run in the release's
source directory, with its environment. Ends with a sentence, or the application's own traceback, when that does not
work.
"""

import importlib
import os
import shutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path.cwd()))
module, archive = sys.argv[1:]
settings_module, static = os.environ["DJANGO_SETTINGS_MODULE"], os.environ["DJANGO_STATIC_ROOT"]
if not callable(getattr(importlib.import_module(module), "application", None)):
    sys.exit(f"app_wsgi_module: {module} has no callable named application")
from django.conf import settings  # noqa: E402 - the module above has set Django up
from django.core.management import call_command  # noqa: E402

if settings_module != settings.SETTINGS_MODULE:
    sys.exit(
        f"app_wsgi_module: {module} sets DJANGO_SETTINGS_MODULE to {settings.SETTINGS_MODULE}, whatever it was. "
        "Write os.environ.setdefault there, as Django's own starter does."
    )

call_command("collectstatic", interactive=False, verbosity=0)
shutil.copytree(static, archive, copy_function=shutil.copy, dirs_exist_ok=True)
