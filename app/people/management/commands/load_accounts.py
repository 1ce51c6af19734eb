"""Accounts for load tests: made before a test, and gone afterwards with what they created."""

import argparse
import os
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.hashers import make_password
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction

from people.models import Profile

PREFIX = "load-"
# Nobody else has this address: an account that merely has such a name is left alone.
EMAIL = "load-test@example.invalid"


class Command(BaseCommand):
    help = (
        "Make the accounts load-1 to load-N, all with the password in DJANGO_LOAD_PASSWORD, in place of those there "
        "are. The profiles that these created are deleted; --count 0 makes no new ones."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--count", type=number, default=50, help="how many accounts (default: 50)")

    def handle(self, *args: Any, **options: Any) -> None:
        count, password = options["count"], os.environ.get("DJANGO_LOAD_PASSWORD", "")
        if count and len(password) < 16:
            raise CommandError("DJANGO_LOAD_PASSWORD is not set, or shorter than 16 characters.")
        users = get_user_model()
        with transaction.atomic():
            created, _ = Profile.objects.filter(created_by__email=EMAIL).delete()
            users.objects.filter(email=EMAIL).delete()
            # One hash for all: hashing is slow by design, and a test needs no other.
            hashed = make_password(password) if count else ""
            users.objects.bulk_create(
                users(username=f"{PREFIX}{i}", password=hashed, email=EMAIL) for i in range(1, count + 1)
            )
        self.stdout.write(f"{count} accounts; {created} profiles of earlier ones deleted.")


def number(text: str) -> int:
    """Parse a count that may be 0."""
    if not text.isascii() or not text.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is not a count: write a number such as 50.")
    return int(text)
