"""The one exception of the lab."""


class LabError(Exception):
    """Something the user can act on; its text says what is wrong, where, and what to do."""
