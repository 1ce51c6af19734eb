"""Import a Celery application and its tasks as a worker does: python celery_app.py APP.

Run in the release's source directory, with its environment. Ends with a sentence, below the application's own traceback
where there is one, when that does not work.
"""

import os
import sys
import traceback
from pathlib import Path

from celery import Celery
from celery.app.utils import find_app

sys.path.insert(0, str(Path.cwd()))
name, settings_module = sys.argv[1], os.environ["DJANGO_SETTINGS_MODULE"]
try:
    app = find_app(name)
    if not isinstance(app, Celery):
        sys.exit(f"app_celery_app is '{name}', which is no Celery application but {app!r}.")
    app.loader.init_worker()
except Exception as error:
    traceback.print_exc()
    sys.exit(f"app_celery_app is '{name}', which can't be imported: {type(error).__name__}: {error}")
if os.environ["DJANGO_SETTINGS_MODULE"] != settings_module:
    sys.exit(
        f"app_celery_app: {name} sets DJANGO_SETTINGS_MODULE to {os.environ['DJANGO_SETTINGS_MODULE']}, whatever it "
        "was. Write os.environ.setdefault there, as Celery's own example does."
    )
