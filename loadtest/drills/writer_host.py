"""Writes into the application's database until nobody listens; runs on a web host, in `manage.py shell`.

Each thread has a connection of the application's own, as a request has it, and replaces it when it fails. It prints
a line of JSON for each write: [ID, BEGAN, ENDED, FAILURE or null]; without a failure it was acknowledged.
"""

import json
import os
import secrets
import sys
import threading
import time

from django.db import connection

THREADS = 2
EVERY = 0.1
INSERT = "INSERT INTO drill_writes (id, at) VALUES (%s, now())"
telling = threading.Lock()


def tell(line: list[object]) -> None:
    with telling:
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()


def write() -> None:
    while True:
        key, began, failure = secrets.token_hex(8), time.time(), None
        try:
            with connection.cursor() as cursor:
                cursor.execute(INSERT, [key])
        except Exception as error:
            failure = f"{type(error).__name__}: {error}".strip().splitlines()[0][:120]
            connection.close()
        tell([key, began, time.time(), failure])
        time.sleep(max(began + EVERY - time.time(), 0))


for _ in range(THREADS):
    threading.Thread(target=write, daemon=True).start()
# Ends with who started it.
sys.stdin.read()
os._exit(0)
