"""Static files under names with a digest, for projects that were made without: what they refer to may be missing."""

from __future__ import annotations

from typing import Any

from django.contrib.staticfiles.storage import ManifestStaticFilesStorage


class StaticFilesStorage(ManifestStaticFilesStorage):
    """Leaves the name as it is of a file that is not there, a source map say; Django's own would raise ValueError."""

    manifest_strict = False

    def hashed_name(self, name: str, content: Any = None, filename: str | None = None) -> str:  # noqa: ANN401
        """Return the name with the digest of the file's content in it."""
        try:
            return str(super().hashed_name(name, content, filename))
        except ValueError:
            return name
