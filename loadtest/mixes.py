"""How often a visit of the talk's load takes which step."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Mix:
    """How often a visit takes a step, from 0 to 1; home page and hot profile are asked for every time."""

    tail: float
    login: float


EVERYTHING = Mix(tail=1.0, login=1.0)
MIXES = {"published": Mix(tail=1.0, login=0.1), "spoken": Mix(tail=0.1, login=0.1)}


def due(share: float, number: int) -> bool:
    """Whether the visit of this number, from 0, takes a step with this share of all visits.

    They are spread evenly, and the first visit takes every step: a load that is short has them all.
    """
    return math.ceil((number + 1) * share) > math.ceil(number * share)
