"""Ask a release in a process of its own: python smoke.py HOST SCHEME HEALTH_PATH [PATH...].

Run in the release's source directory, with its environment. The health path has to be answered below 400, each other
path below 500. Ends with a sentence, or the application's own traceback, when one is not.
"""

import configparser
import importlib
import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote, urlsplit


@contextmanager
def alive(at: str) -> Iterator[None]:
    """An application that ends the process, even with status 0, has not passed."""
    try:
        yield
    except SystemExit as ended:
        sys.exit(f"The application ends the process {at}, with {ended.code!r}.")


sys.path.insert(0, str(Path.cwd()))
host, scheme, *paths = sys.argv[1:]
# What the release's own uWSGI loads; the choices of today may be another release's.
configuration = configparser.RawConfigParser(strict=False)
configuration.read(directory / "uwsgi.ini" for directory in Path.cwd().parents)
with alive("when it is imported"):
    application = importlib.import_module(configuration["uwsgi"]["module"]).application
from django.conf import settings  # noqa: E402 - the module above has set Django up

settings.DEBUG_PROPAGATE_EXCEPTIONS = True


def status_of(path: str) -> str:
    """Ask the application for a path, read all of its answer and return the status line."""
    url = urlsplit(path)
    said = []
    environ = {
        "REQUEST_METHOD": "GET",
        "SCRIPT_NAME": "",
        "PATH_INFO": unquote(url.path, "latin-1"),
        "QUERY_STRING": url.query,
        "SERVER_NAME": host,
        "SERVER_PORT": "443" if scheme == "https" else "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "127.0.0.1",
        "HTTP_HOST": host,
        "HTTP_X_FORWARDED_PROTO": scheme,
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scheme,
        "wsgi.input": io.BytesIO(),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": False,
        "wsgi.multiprocess": True,
        "wsgi.run_once": True,
    }
    answer = application(environ, lambda status, headers, exc_info=None: said.append(status))
    b"".join(answer)
    if hasattr(answer, "close"):
        answer.close()
    return said[0]


for number, path in enumerate(paths):
    variable, limit = ("app_smoke_paths has", 500) if number else ("app_health_path is", 400)
    with alive(f"when it is asked for {path}"):
        answered = status_of(path)
    print(path, answered)
    if int(answered.split()[0]) >= limit:
        sys.exit(f"{variable} '{path}', which the release answers with {answered}, not below {limit}.")
