"""Model fields and validators of the people directory."""

import datetime
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.core.validators import URLValidator
from django.db import models
from django.utils import timezone


class HttpURLField(models.URLField):
    """An address of a web page: http or https only, for it becomes a link (Django's own takes ftp as well)."""

    default_validators = [URLValidator(schemes=["http", "https"])]

    def formfield(self, **kwargs: Any) -> forms.Field | None:
        return super().formfield(**{"assume_scheme": "https", **kwargs})


def validate_not_in_future(value: datetime.date) -> None:
    """Refuse a day after today, today being the day in the site's time zone."""
    if value > timezone.localdate():
        raise ValidationError("This day is in the future.", code="future")
