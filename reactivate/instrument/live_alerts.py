"""Alerts while the workload runs: a thread has passed a share of the limit of its own stack."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from reactivate.evidence import Pid, Tid
from reactivate.instrument.alerts import AlertShares
from reactivate.instrument.stack_areas import StackArea, former_stacks
from reactivate.instrument.touch import Touch
from reactivate.units import format_bytes, format_percent


@dataclass(frozen=True, slots=True, kw_only=True)
class RaisedAlert:
    """A thread passed a share of its limit.

    Attributes:
        critical: whether it was the critical share; else the warning.
        depth_bytes: of the touch that passed it, from the top of the mapping.
        during: the operation and repetition that was under way when the page was touched, as
            the driving side knew it.
        text: the sentence that was shown.
    """

    critical: bool
    tid: int
    depth_bytes: int
    during: str
    text: str


class LiveAlerts:
    """Told of every first touch as it happens, says each share that is passed, once per stack.

    Args:
        pid: the process.
        areas: its stacks when the workload began; those of new threads are looked up.
        shares: of a stack's limit, where an alert is due.
        where: what was under way at a moment of the monotonic clock (ns). A touch is read some
            time after it happened, when the workload may be elsewhere.
        say: shows a line to whoever watches.
    """

    def __init__(
        self,
        pid: Pid,
        areas: Sequence[StackArea],
        shares: AlertShares,
        *,
        where: Callable[[int], str],
        say: Callable[[str], None],
    ) -> None:
        self.raised: list[RaisedAlert] = []
        self._pid = pid
        self._areas = list(areas)
        self._shares = shares
        self._where = where
        self._say = say
        self._said: set[tuple[int, bool]] = set()
        self._met: set[Tid] = {area.tid for area in areas if area.tid is not None}

    def touched(self, touch: Touch) -> None:
        """Look at one touch."""
        area = self._area(touch)
        if area is None:
            return
        depth = area.end - touch.address
        for critical, share in ((False, self._shares.warning), (True, self._shares.critical)):
            if depth > share * area.limit_bytes and (area.end, critical) not in self._said:
                self._said.add((area.end, critical))
                self._raise(touch, area, depth, share, critical=critical)

    def _raise(
        self, touch: Touch, area: StackArea, depth: int, share: float, *, critical: bool
    ) -> None:
        during = self._where(touch.time_ns)
        who = touch.chain[0].symbol if touch.chain else ""
        text = (
            f"{'critical' if critical else 'warning'}: {area.thread} thread {touch.tid} is beyond "
            f"{share:.0%} of its stack: {format_bytes(depth)} of "
            f"{format_bytes(area.limit_bytes)} ({format_percent(depth / area.limit_bytes)})"
            + (f", during {during}" if during else "")
            + (f", in {who}" if who else "")
        )
        self.raised.append(
            RaisedAlert(
                critical=critical, tid=touch.tid, depth_bytes=depth, during=during, text=text
            )
        )
        self._say(text)

    def _area(self, touch: Touch) -> StackArea | None:
        found = self._known(touch)
        if found is None and touch.tid not in self._met:
            # What a new thread touches first is its own stack.
            self._met.add(touch.tid)
            try:
                self._areas += former_stacks(self._pid, tuple(self._areas))
            except OSError:  # it has ended meanwhile
                return None
            found = self._known(touch)
        return found

    def _known(self, touch: Touch) -> StackArea | None:
        return next((area for area in self._areas if area.contains(touch.address)), None)
