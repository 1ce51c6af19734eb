"""The form behind "New profile"."""

from typing import Any

from django import forms
from django.db import transaction

from people.models import Company, JobTitle, NamedModel, Profile


class NameField(forms.CharField):
    """The name of something that is looked up or created on saving: a list of 2,000 companies is no good to choose
    from, and would cost more than the rest of the page."""

    def __init__(self, model: type[NamedModel], **kwargs: Any) -> None:
        super().__init__(max_length=model._meta.get_field("name").max_length, **kwargs)

    def clean(self, value: Any) -> str:
        return " ".join(super().clean(value).split())


class ProfileForm(forms.ModelForm):
    company = NameField(Company)
    job_title = NameField(JobTitle)

    field_order = ["name", "job_title", "company", "email", "website", "birthday", "address", "bio"]

    class Meta:
        model = Profile
        # company and job_title are not in here: they are set by save().
        fields = ["name", "email", "address", "website", "birthday", "bio"]
        widgets = {
            "birthday": forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d"),
            "bio": forms.Textarea(attrs={"rows": 12}),
        }

    def save(self, commit: bool = True) -> Profile:
        """Save the profile, with its company and job title if they are new: all or nothing."""
        with transaction.atomic():
            self.instance.company = Company.named(self.cleaned_data["company"])
            self.instance.job_title = JobTitle.named(self.cleaned_data["job_title"])
            return super().save(commit)
