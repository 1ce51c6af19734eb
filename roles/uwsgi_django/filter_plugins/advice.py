"""What to write when an application did not start, by what it said."""

from __future__ import annotations

import re
from collections.abc import Callable

# Python's own words for os.environ, and those of django-environ, python-decouple and environs.
UNSET = re.compile(
    r"""KeyError(?::\ |\()'([A-Z][A-Z0-9_]+)'
    |Set\ the\ (\w+)\ environment\ variable
    |UndefinedValueError:\ (\w+)\ not\ found
    |[Ee]nvironment\ variable\ "?([A-Z]\w+)"?\ (?:is\ )?not\ set""",
    re.VERBOSE,
)


def start_advice(said: str) -> str:
    """Return a sentence on the variable that an application asked its environment for in vain; empty if on none."""
    found = [name for groups in UNSET.findall(said) for name in groups if name]
    if not found:
        return ""
    return (
        f"If the settings ask the environment for {found[0]}, write it into app_environment, or, where it is secret, "
        "into app_secret_environment in the vault."
    )


class FilterModule:
    """The filters of the role uwsgi_django."""

    def filters(self) -> dict[str, Callable[..., str]]:
        """Return the filters by name, as Ansible asks for them."""
        return {"start_advice": start_advice}
