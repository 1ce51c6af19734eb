"""Words as systemd's unit files want them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

# Within double quotes; the last two would be replaced by something else.
ESCAPES = str.maketrans({"\\": "\\\\", '"': '\\"', "%": "%%", "$": "$$"})


def systemd_words(words: list[str]) -> str:
    """Return the words of a command as they stand in ExecStart=, so that they arrive as they were."""
    return " ".join(f'"{str(word).translate(ESCAPES)}"' for word in words)


class FilterModule:
    """The filters of the role uwsgi_django."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by name, as Ansible asks for them."""
        return {"systemd_words": systemd_words}
