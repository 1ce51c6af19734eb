"""The directory: people, the companies they work for and what they do there."""

from collections.abc import Iterable
from typing import Self

from django.conf import settings
from django.db import models
from django.db.models.functions import Upper
from django.urls import reverse
from django.utils import timezone

from people.fields import HttpURLField, validate_not_in_future

AVATAR_COLOURS = 8  # as many as people.css has .avatar-N


class NamedModel(models.Model):
    """Something known by its name, which is unique whatever its case."""

    name = models.CharField(max_length=120)

    class Meta:
        abstract = True
        ordering = ["name"]
        constraints = [
            models.UniqueConstraint(
                Upper("name"),
                name="%(class)s_name_unique",
                violation_error_message="This name is taken.",
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @classmethod
    def named(cls, name: str) -> Self:
        """Return the one with this name, whatever its case; create it if there is none."""
        return cls.objects.get_or_create(name__iexact=name, defaults={"name": name})[0]


class Company(NamedModel):
    class Meta(NamedModel.Meta):
        verbose_name_plural = "companies"


class JobTitle(NamedModel):
    pass


class ProfileQuerySet(models.QuerySet["Profile"]):
    def newest(self) -> Self:
        """Newest first, with what a list shows and no more: a row is mostly its bio."""
        return (
            self.select_related("company", "job_title")
            .only("name", "company__name", "job_title__name")
            .order_by("-created", "-id")
        )

    def newest_sharing(self, shared: str) -> Self:
        """The same of people who share their `shared`, a foreign key: what is known of that is not asked for again."""
        [other] = {"company", "job_title"} - {shared}
        return self.select_related(other).only("name", shared, f"{other}__name").order_by("-created", "-id")


class Profile(models.Model):
    name = models.CharField(max_length=120)
    email = models.EmailField("e-mail")
    address = models.CharField(max_length=255, blank=True)
    # Without indexes of their own: those in Meta begin with them.
    company = models.ForeignKey(Company, on_delete=models.PROTECT, related_name="profiles", db_index=False)
    job_title = models.ForeignKey(JobTitle, on_delete=models.PROTECT, related_name="profiles", db_index=False)
    website = HttpURLField(blank=True)
    birthday = models.DateField(null=True, blank=True, validators=[validate_not_in_future])
    bio = models.TextField(max_length=10_000, blank=True)
    created = models.DateTimeField(default=timezone.now, editable=False)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        editable=False,
        related_name="created_profiles",
    )

    objects = ProfileQuerySet.as_manager()

    class Meta:
        indexes = [
            models.Index(fields=["-created", "-id"], name="profile_newest"),
            models.Index(fields=["company", "-created", "-id"], name="profile_company_newest"),
            models.Index(fields=["job_title", "-created", "-id"], name="profile_job_title_newest"),
        ]

    def __str__(self) -> str:
        return self.name

    def get_absolute_url(self) -> str:
        return reverse("profile", args=[self.pk])

    @property
    def initials(self) -> str:
        """One or two letters for the avatar: of the first and the last name."""
        words = self.name.split()
        return "".join(word[0] for word in (words[:1] + words[1:][-1:])).upper()

    @property
    def avatar_colour(self) -> int:
        return (self.pk or 0) % AVATAR_COLOURS

    def colleagues(self) -> ProfileQuerySet:
        """The newest others of the same company."""
        return self.company.profiles.newest_sharing("company").exclude(pk=self.pk)

    def peers(self, besides: Iterable["Profile"]) -> ProfileQuerySet:
        """The newest others with the same job title, without those named."""
        known = [self.pk, *(person.pk for person in besides)]
        return self.job_title.profiles.newest_sharing("job_title").exclude(pk__in=known)
