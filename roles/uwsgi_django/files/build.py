"""Import a release and collect its static files, in one process: python build.py WSGI_MODULE.

Run in the release's source directory, with its environment. Ends with a sentence, or the application's own traceback,
when that does not work.
"""

import importlib
import sys
from pathlib import Path

sys.path.insert(0, str(Path.cwd()))
module = sys.argv[1]
if not callable(getattr(importlib.import_module(module), "application", None)):
    sys.exit(f"app_wsgi_module: {module} has no callable named application")
from django.core.management import call_command  # noqa: E402 - the module above has set Django up

call_command("collectstatic", interactive=False, verbosity=0)
