"""What is advised when an application does not start."""

from __future__ import annotations

import pytest
from loading import load

advice = load("uwsgi_django/filter_plugins/advice.py")


@pytest.mark.parametrize(
    "said",
    [
        "  File \"/usr/lib/python3.13/os.py\", line 714, in __getitem__\nKeyError: 'STRIPE_KEY'",
        "The project does not start: KeyError('STRIPE_KEY')",
        "django.core.exceptions.ImproperlyConfigured: Set the STRIPE_KEY environment variable",
        "decouple.UndefinedValueError: STRIPE_KEY not found. Declare it as envvar or define a default value.",
        'environs.exceptions.EnvError: Environment variable "STRIPE_KEY" not set',
        "ImproperlyConfigured: The environment variable STRIPE_KEY is not set: this site does not start without it.",
    ],
)
def test_a_variable_that_the_environment_lacks_is_named(said: str) -> None:
    assert "for STRIPE_KEY, write it into app_environment" in advice.start_advice(said)


@pytest.mark.parametrize("said", ["", "KeyError: 'name'", "ModuleNotFoundError: No module named 'STRIPE_KEY'"])
def test_of_other_faults_nothing_is_said(said: str) -> None:
    assert advice.start_advice(said) == ""
