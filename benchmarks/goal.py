"""A goal, what was measured against it, and whether it was met."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """One line of `make bench`.

    Attributes:
        name: what was measured.
        measured: the value.
        limit: the most (or, with `at_least`, the least) it may be.
        unit: of both, "×" for a ratio.
        detail: what a reader needs to judge the value.
    """

    name: str
    measured: float
    limit: float
    unit: str
    detail: str = ""
    at_least: bool = False

    @property
    def met(self) -> bool:
        """Whether the goal is met; NaN never is."""
        if self.at_least:
            return self.measured >= self.limit
        return self.measured <= self.limit
