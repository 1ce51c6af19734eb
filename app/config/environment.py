"""Read settings from environment variables, and say in the user's terms which one is wrong."""

import os

from django.core.exceptions import ImproperlyConfigured


def required(name: str) -> str:
    """Return the variable's value; raise ImproperlyConfigured if it is missing or empty."""
    value = os.environ.get(name, "")
    if not value:
        raise ImproperlyConfigured(f"The environment variable {name} is not set: this site does not start without it.")
    return value


def flag(name: str) -> bool:
    """Return whether the variable is "true"; unset means false, anything but "true" or "false" is an error."""
    value = os.environ.get(name, "") or "false"
    if value.lower() not in {"true", "false"}:
        raise ImproperlyConfigured(f'The environment variable {name} is "{value}": it must be "true" or "false".')
    return value.lower() == "true"


def whole_number(name: str, default: int) -> int:
    """Return the variable as a number of 0 or more; raise ImproperlyConfigured if it is none."""
    value = os.environ.get(name, "") or str(default)
    if not (value.isascii() and value.isdecimal()):
        raise ImproperlyConfigured(f'The environment variable {name} is "{value}": it must be a whole number.')
    return int(value)


def comma_separated(name: str, default: str = "") -> list[str]:
    """Return the variable's items, stripped, empty ones left out."""
    value = os.environ.get(name, "") or default
    return [item.strip() for item in value.split(",") if item.strip()]
