"""Fill the directory with made-up people, for demonstrations and load tests."""

import argparse
import datetime
import io
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connection, transaction
from django.utils import timezone

from people.models import Company, JobTitle, NamedModel, Profile
from people.seed import COLUMNS, company_names, job_titles, rows

# "Newest" has a meaning: the profiles are spread evenly over the time up to now.
HISTORY = datetime.timedelta(days=730)
READ_BYTES = 1 << 18


class Command(BaseCommand):
    help = (
        "Fill the directory with made-up profiles, all or none of them. The same --seed and --count give the same "
        "profiles again. In an empty or replaced directory their ids are 1 to --count."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--count", type=positive, default=500_000, help="how many profiles (default: 500000)")
        parser.add_argument("--seed", type=int, default=1, help="number that the made-up data follow from (default: 1)")
        existing = parser.add_mutually_exclusive_group()
        existing.add_argument("--append", action="store_true", help="keep the profiles that exist")
        existing.add_argument(
            "--replace", action="store_true", help="delete all profiles, companies and job titles that exist"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        count = options["count"]
        started = time.monotonic()
        with transaction.atomic():
            self.make_room(count, append=options["append"], replace=options["replace"])
            self.copy(count, options["seed"], fresh=not options["append"])
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE people_profile, people_company, people_jobtitle")
        seconds = time.monotonic() - started
        self.stdout.write(
            self.style.SUCCESS(f"{count:,} profiles in {seconds:.1f} s, {count / seconds:,.0f} a second.")
        )

    def make_room(self, count: int, *, append: bool, replace: bool) -> None:
        """Empty the tables unless appending; refuse if that would delete profiles without --replace."""
        if append:
            return
        with connection.cursor() as cursor:
            # Nobody adds a profile between the count and the TRUNCATE.
            cursor.execute("LOCK TABLE people_profile IN SHARE ROW EXCLUSIVE MODE")
            existing = Profile.objects.count()
            if existing and not replace:
                raise CommandError(
                    f"There are {existing:,} profiles in the directory already. "
                    f"Add {count:,} to them with --append, or delete them first with --replace."
                )
            # The tables' own, in one statement: a TRUNCATE can be rolled back, sequences included.
            cursor.execute("TRUNCATE people_profile, people_company, people_jobtitle RESTART IDENTITY")

    def copy(self, count: int, seed: int, *, fresh: bool) -> None:
        company_ids = ids_by_name(Company, company_names())
        job_title_ids = ids_by_name(JobTitle, job_titles())
        made = rows(count, seed, timezone.now() - HISTORY, HISTORY, company_ids, job_title_ids)
        # FREEZE, allowed in a table truncated just now, spares the VACUUM that would rewrite every page later.
        how = " WITH (FREEZE)" if fresh else ""
        stream = io.BufferedReader(RowStream(self.with_progress(made, count)), READ_BYTES)
        with connection.cursor() as cursor, without_foreign_keys(cursor) if fresh else nullcontext():
            # Bios are most of the work: LZ4 packs them in half of pglz's time, and unpacks them faster for every page.
            cursor.execute(
                "SELECT set_config(name, 'lz4', true) FROM pg_settings"
                " WHERE name = 'default_toast_compression' AND 'lz4' = ANY (enumvals)"
            )
            cursor.copy_expert(f"COPY people_profile ({', '.join(COLUMNS)}) FROM STDIN{how}", stream, READ_BYTES)

    def with_progress(self, made: Iterator[str], count: int) -> Iterator[str]:
        """Hand the rows on; draw a bar on a terminal, else write a line each tenth."""
        terminal = self.stdout.isatty()
        step = max(1, count // (200 if terminal else 10))
        started = time.monotonic()
        for number, row in enumerate(made, 1):
            yield row
            if number % step == 0 or (terminal and number == count):
                rate = number / max(time.monotonic() - started, 1e-6)
                line = f"{number / count:4.0%}  {number:,} of {count:,} profiles, {rate:,.0f} a second"
                if terminal:
                    bar = "#" * (30 * number // count)
                    self.stdout.write(f"\r[{bar:.<30}] {line}", ending="\n" if number == count else "")
                else:
                    self.stdout.write(line)
                self.stdout.flush()


class RowStream(io.RawIOBase):
    """The rows of a generator as the file that COPY reads, without ever holding more than a few of them."""

    def __init__(self, made: Iterator[str]) -> None:
        self.made = made
        self.left = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self.left:
            self.left = next(self.made, "").encode()
        part = self.left[: len(buffer)]
        self.left = self.left[len(part) :]
        buffer[: len(part)] = part
        return len(part)


@contextmanager
def without_foreign_keys(cursor: Any) -> Iterator[None]:
    """Check the rows against other tables all at once at the end: one join instead of two look-ups a row."""
    cursor.execute(
        "SELECT quote_ident(conname), pg_get_constraintdef(oid) FROM pg_constraint"
        " WHERE conrelid = 'people_profile'::regclass AND contype = 'f'"
    )
    foreign_keys = cursor.fetchall()
    for name, _ in foreign_keys:
        cursor.execute(f"ALTER TABLE people_profile DROP CONSTRAINT {name}")
    yield
    for name, definition in foreign_keys:
        cursor.execute(f"ALTER TABLE people_profile ADD CONSTRAINT {name} {definition}")


def ids_by_name(model: type[NamedModel], names: list[str]) -> list[int]:
    """Return the ids of the models with these names, in the names' order; those that don't exist are created."""
    model.objects.bulk_create([model(name=name) for name in names], ignore_conflicts=True)
    ids = {name.upper(): pk for pk, name in model.objects.values_list("pk", "name")}
    return [ids[name.upper()] for name in names]


def positive(text: str) -> int:
    """Parse a number of at least 1."""
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f'"{text}" is not a number of profiles: it must be 1 or more.')
    return number
