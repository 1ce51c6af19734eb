"""Which segment of the write-ahead log tells whether a lost leader had archived all."""

from __future__ import annotations

import pytest
from loading import load

load("pgbackrest/files/repository.py")
check = load("pgbackrest/files/archive_check.py")
SIZE = 16 << 20
FIRST = "1\t0/5000028\tno recovery\n\n"


@pytest.mark.parametrize(
    ("history", "segments"),
    [
        ("1\t0/5000028\tno recovery target specified\n", ["000000010000000000000004"]),
        # The switch at a segment's very beginning: the one before it is whole.
        ("1\t0/5000000\tno recovery target specified\n", ["000000010000000000000004"]),
        ("1\t2/0\tno recovery target specified\n", ["0000000100000001000000FF"]),
        # Both have to be there: the second leader archives nothing of the first one's.
        (f"{FIRST}2\t0/8001000\tno recovery\n", ["000000010000000000000004", "000000020000000000000007"]),
        # The second switch in the same segment as the first, or in the next: whose the one before is.
        (f"{FIRST}2\t0/5002000\tno recovery\n", ["000000010000000000000004", "000000010000000000000004"]),
        (f"{FIRST}2\t0/6002000\tno recovery\n", ["000000010000000000000004", "000000020000000000000005"]),
        ("1\t0/1000028\tno recovery\n", []),
    ],
)
def test_the_last_whole_segments_before_each_timeline(history: str, segments: list[str]) -> None:
    assert check.last_of_each(history, SIZE) == segments


def test_segments_of_another_size() -> None:
    assert check.last_of_each("1\t1/40000000\tno recovery\n", 1 << 30) == ["000000010000000100000000"]
