"""A goal, what was measured against it, and whether it was met."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """One line of `make bench`.

    Attributes:
        name: what was measured.
        measured: the value.
        limit: the most (or, with `at_least`, the least) it may be; None: shown for comparison.
        unit: of both, "×" for a ratio.
        detail: what a reader needs to judge the value.
    """

    name: str
    measured: float
    limit: float | None
    unit: str
    detail: str = ""
    at_least: bool = False

    @property
    def met(self) -> bool:
        """Whether the goal is met; NaN never is, and without a goal whatever was measured."""
        if self.limit is None:
            return not math.isnan(self.measured)
        if self.at_least:
            return self.measured >= self.limit
        return self.measured <= self.limit
