"""Which limit to try next: a search for the least that survives, with as few runs as it takes.

Pure: it is told how attempts ended and answers with the next limit. Attempts are not perfectly
repeatable (the kernel starts the stack at a random offset within two pages), so the edge is
repeated, and a death above an earlier survival moves the edge up.
"""

from __future__ import annotations

from dataclasses import dataclass, field

_FIRST_STEPS = 4
"""How many steps the first guess goes beyond a prediction that was too high or too low."""

_EDGE_REPEATS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One limit tried.

    Attributes:
        limit_bytes: the limit.
        survived: whether the workload was done under it.
        touched_bytes: what it took, 0 if that is not known.
    """

    limit_bytes: int
    survived: bool
    touched_bytes: int = 0


@dataclass(slots=True, kw_only=True)
class Search:
    """The search for the least surviving limit.

    Attributes:
        step_bytes: the grid; all limits are multiples of it.
        full_bytes: the limit that is never exceeded.
        most_attempts: after so many of its own proposals it gives up.
    """

    step_bytes: int
    full_bytes: int
    most_attempts: int
    attempts: list[Attempt] = field(default_factory=list)
    _proposed: int = 0

    def learn(self, attempt: Attempt) -> None:
        """Take note of how an attempt ended."""
        self.attempts.append(attempt)

    @property
    def largest_dying(self) -> int:
        """The largest limit that was not survived; 0 if every one was."""
        return max((a.limit_bytes for a in self.attempts if not a.survived), default=0)

    @property
    def least_surviving(self) -> int | None:
        """The least limit above all deaths that was survived; None if there is none."""
        lives = [a.limit_bytes for a in self.attempts if a.survived]
        return min((limit for limit in lives if limit > self.largest_dying), default=None)

    @property
    def settled(self) -> bool:
        """Whether the edge is known to one step, with a death below and repeated survival."""
        least = self.least_surviving
        return (
            least is not None
            and self.largest_dying == least - self.step_bytes
            and self._survivals(least) >= _EDGE_REPEATS
        )

    def next_limit(self) -> int | None:
        """The limit to try next; None when the edge is known or the attempts are used up."""
        if self._proposed >= self.most_attempts:
            return None
        limit = self._next()
        if limit is not None:
            self._proposed += 1
        return limit

    def _next(self) -> int | None:
        least, dying, step = self.least_surviving, self.largest_dying, self.step_bytes
        if least is None:
            # Nothing survives above the deaths: further up, and straight up at the first.
            if dying >= self.full_bytes:
                return None
            beyond = self._beyond_prediction(dying) if self._prediction() else self.full_bytes
            return min(beyond, self.full_bytes)
        if not dying:
            return self._below(least)
        if least - dying <= step:
            return None if self._survivals(least) >= _EDGE_REPEATS else least
        return self._between(dying, least)

    def _below(self, least: int) -> int | None:
        """Nothing has died yet: the prediction, then ever further down."""
        if least <= self.step_bytes:
            return None
        prediction = self._prediction()
        if self.step_bytes <= prediction < least and not self._tried(prediction):
            return prediction
        return max(self.step_bytes, self._before_prediction(least))

    def _between(self, dying: int, least: int) -> int:
        """The prediction if it lies between; else the middle, or near the prediction's edge."""
        prediction = self._prediction()
        if dying < prediction < least and not self._tried(prediction):
            return prediction
        middle = (dying + least) // 2 // self.step_bytes * self.step_bytes
        if 0 < prediction <= dying:
            return min(middle, self._beyond_prediction(dying))
        return max(middle, self._before_prediction(least))

    def _before_prediction(self, least: int) -> int:
        """Further down from a survival, by twice as much each time; half without prediction."""
        prediction = self._prediction()
        if not prediction:
            return least // 2 // self.step_bytes * self.step_bytes
        lives = sum(a.survived and a.limit_bytes <= prediction for a in self.attempts)
        return least - (_FIRST_STEPS * self.step_bytes << max(0, lives - 1))

    def _beyond_prediction(self, dying: int) -> int:
        """Further up from a death, by twice as much each time."""
        prediction = self._prediction()
        deaths = sum(not a.survived and a.limit_bytes >= prediction for a in self.attempts)
        return dying + (_FIRST_STEPS * self.step_bytes << max(0, deaths - 1))

    def _prediction(self) -> int:
        """What the latest surviving attempt took, in whole steps; 0 if unknown."""
        touched = [a.touched_bytes for a in self.attempts if a.survived and a.touched_bytes]
        return -(-touched[-1] // self.step_bytes) * self.step_bytes if touched else 0

    def _survivals(self, limit: int) -> int:
        return sum(a.survived and a.limit_bytes == limit for a in self.attempts)

    def _tried(self, limit: int) -> bool:
        return any(a.limit_bytes == limit for a in self.attempts)
