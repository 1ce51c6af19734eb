"""Which steps of the way a test is about."""

from __future__ import annotations

import pytest


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "steps(when): a test of those steps of the way for which when(step) is true")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what a step has nothing to say about: such a case would be skipped every time."""
    left_out = [item for item in items if (mark := item.get_closest_marker("steps")) and not _meant(item, mark)]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]


def _meant(item: pytest.Item, mark: pytest.Mark) -> bool:
    assert isinstance(item, pytest.Function)
    return bool(mark.kwargs["when"](item.callspec.params["step"]))
