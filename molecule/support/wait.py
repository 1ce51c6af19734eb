"""Wait for a condition, with a limit; never for a time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
INTERVAL = 0.2


def eventually(attempt: Callable[[], T], limit: float = 60) -> T:
    """Return the first truthy result of `attempt`.

    Raises AssertionError with the last outcome when there is none within `limit` seconds. Connections that fail and
    assertions that do not hold count as "not yet".
    """
    deadline = time.monotonic() + limit
    while True:
        outcome: object
        try:
            outcome = result = attempt()
            if result:
                return result
        except (OSError, RuntimeError, AssertionError) as error:  # the second is testinfra's for ssh
            outcome = error
        if time.monotonic() > deadline:
            raise AssertionError(f"Not within {limit:.0f} s; at last: {outcome!r}")
        time.sleep(INTERVAL)
