"""Quantities as people read and write them; inside, everything is in base units.

Bytes, nanoseconds and counts are formatted here and nowhere else, so that a number looks the
same in a table, a decision and a message. Only binary prefixes exist: a decimal `MB` is refused
rather than guessed at.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Final

from reactivate.errors import UsageError
from reactivate.evidence import Dimension

PLAIN_BYTES_BELOW = 16 * 1024
"""Below this, sizes are shown to the byte: stack depths are exact, and read better so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """A unit that a criterion, a configuration value or an option may carry.

    Attributes:
        name: as written.
        factor: how many base units it is.
        dimension: what it counts.
    """

    name: str
    factor: int
    dimension: Dimension


_UNITS = (
    Unit(name="B", factor=1, dimension=Dimension.BYTES),
    Unit(name="KiB", factor=1 << 10, dimension=Dimension.BYTES),
    Unit(name="MiB", factor=1 << 20, dimension=Dimension.BYTES),
    Unit(name="GiB", factor=1 << 30, dimension=Dimension.BYTES),
    Unit(name="ns", factor=1, dimension=Dimension.NANOSECONDS),
    Unit(name="us", factor=1_000, dimension=Dimension.NANOSECONDS),
    Unit(name="µs", factor=1_000, dimension=Dimension.NANOSECONDS),
    Unit(name="ms", factor=1_000_000, dimension=Dimension.NANOSECONDS),
    Unit(name="s", factor=1_000_000_000, dimension=Dimension.NANOSECONDS),
)

UNITS: dict[str, Unit] = {unit.name: unit for unit in _UNITS}
"""All units by name; `%` is not one of them: it is relative, and has its own place in the grammar.
"""

_GREEK_MU_SECOND = "μs"
"""The Greek letter mu; keyboards and editors give either it or the micro sign of `UNITS`."""

_NEAREST = {
    **dict.fromkeys(("k", "K", "kB", "KB", "kb", "Kb", "kib", "KIB", "Kib", "kiB", "Ki"), "KiB"),
    **dict.fromkeys(("m", "M", "MB", "mb", "Mb", "mB", "mib", "MIB", "Mib", "miB", "Mi"), "MiB"),
    **dict.fromkeys(("g", "G", "GB", "gb", "Gb", "gB", "gib", "GIB", "Gib", "giB", "Gi"), "GiB"),
    **dict.fromkeys(("b", "byte", "bytes", "Byte", "Bytes"), "B"),
    **dict.fromkeys(("nsec", "NS", "Ns"), "ns"),
    **dict.fromkeys(("usec", "US", "Us"), "us"),
    **dict.fromkeys(("msec", "MS", "Ms"), "ms"),
    **dict.fromkeys(("sec", "secs", "second", "seconds", "S"), "s"),
}

_QUANTITY = re.compile(r"\s*(?P<number>\d+(?:\.\d+)?)\s*(?P<unit>[^\W\d_]*)\s*", re.UNICODE)


def find_unit(name: str) -> Unit | None:
    """The unit with this name, or None."""
    return UNITS.get("µs" if name == _GREEK_MU_SECOND else name)


def nearest_unit(name: str) -> str:
    """The unit that was probably meant by an unknown one (`MB` gives `MiB`), or ""."""
    return _NEAREST.get(name, "")


def parse_bytes(text: str) -> int:
    """Read a size such as `64 KiB`, `1.5MiB` or a plain number of bytes.

    Raises:
        UsageError: no number, an unknown or decimal unit, a duration, or a part of a byte.
    """
    return _parse(text, Dimension.BYTES, "a size", "64 KiB")


def parse_duration_ns(text: str) -> int:
    """Read a duration such as `5 ms`; the unit is required. Gives nanoseconds.

    Raises:
        UsageError: no number, no or an unknown unit, a size, or a part of a nanosecond.
    """
    return _parse(text, Dimension.NANOSECONDS, "a duration", "5 ms")


_MOST_DIGITS: Final = 30
"""Far more than 64 bits need, and than Python refuses to read."""


def _parse(text: str, dimension: Dimension, wanted: str, example: str) -> int:
    match = _QUANTITY.fullmatch(text)
    if match is None:
        raise UsageError(f"`{text}` is not {wanted}", hint=f"write {wanted} like `{example}`")
    if len(match["number"]) > _MOST_DIGITS:
        raise UsageError(
            f"`{text[:_MOST_DIGITS]}…` is not {wanted}",
            why=f"it has more than {_MOST_DIGITS} digits",
            hint=f"write {wanted} like `{example}`",
        )
    name = match["unit"] or ("B" if dimension is Dimension.BYTES else "")
    unit = find_unit(name)
    if unit is None:
        near = nearest_unit(name)
        why = f"unknown unit `{name}`" if name else "the unit is missing"
        hint = f"did you mean `{match['number']} {near}`?" if near else f"write it like `{example}`"
        raise UsageError(f"`{text}` is not {wanted}", why=why, hint=hint)
    if unit.dimension is not dimension:
        raise UsageError(
            f"`{text}` is not {wanted}",
            why=f"`{unit.name}` counts {unit.dimension.value}",
            hint=f"write {wanted} like `{example}`",
        )
    whole, _, fraction = match["number"].partition(".")
    scaled = int(whole + fraction) * unit.factor
    divisor = int(10 ** len(fraction))
    if scaled % divisor:
        base = "byte" if dimension is Dimension.BYTES else "nanosecond"
        raise UsageError(f"`{text}` is not a whole number of {base}s", hint=f"e.g. `{example}`")
    return scaled // divisor


def format_bytes(size_bytes: float) -> str:
    """`8,232 B` below 16 KiB, else three digits with a binary prefix: `2.71 MiB`."""
    odd = _not_finite(size_bytes)
    if odd:
        return odd
    if abs(round(size_bytes)) < PLAIN_BYTES_BELOW:
        return f"{_whole(size_bytes)} B"
    return _scaled(size_bytes, ((1 << 10, "KiB"), (1 << 20, "MiB"), (1 << 30, "GiB")), 1024)


def format_duration_ns(duration_ns: float) -> str:
    """Three digits with the largest fitting unit: `412 ns`, `3.21 ms`, `1.08 s`."""
    odd = _not_finite(duration_ns)
    if odd:
        return odd
    if abs(round(duration_ns)) < 1000:
        return f"{_whole(duration_ns)} ns"
    return _scaled(duration_ns, ((10**3, "µs"), (10**6, "ms"), (10**9, "s")), 1000)


def format_count(count: float) -> str:
    """`1,229`; a count that is no whole number (an average, a limit) keeps two decimals."""
    odd = _not_finite(count)
    if odd:
        return odd
    return f"{int(count):,}" if float(count).is_integer() else f"{count:,.2f}"


def format_ratio(ratio: float) -> str:
    """`1.08×`: how many times the reference."""
    return _not_finite(ratio) or f"{ratio:,.2f}×"


def format_percent(share: float, *, decimals: int | None = None) -> str:
    """A share as percent: 0.339 gives `33.9 %`.

    Without `decimals`, one is shown, and two below 1 % and from 99.9 % on. What is less than
    everything is never rounded up to 100 %.
    """
    odd = _not_finite(share)
    if odd:
        return odd
    percent = share * 100
    if decimals is None:
        decimals = 2 if abs(percent) < 1 or 99.9 <= percent < 100 else 1
        decimals = 0 if percent in (0, 100) else decimals
    if percent < 100 and float(f"{percent:.{decimals}f}") >= 100:
        scale = 10**decimals
        percent = math.floor(percent * scale) / scale
    return f"{percent:,.{decimals}f} %"


def format_quantity(value: float, dimension: Dimension) -> str:
    """A value in base units, as its dimension is shown to people."""
    match dimension:
        case Dimension.BYTES:
            return format_bytes(value)
        case Dimension.NANOSECONDS:
            return format_duration_ns(value)
        case Dimension.COUNT:
            return format_count(value)
        case Dimension.RATIO:
            return format_ratio(value)


def _not_finite(value: float) -> str:
    """Words for what is no number, so that it is never shown as one; "" for real numbers."""
    if math.isnan(value):
        return "not a number"
    return "infinite" if math.isinf(value) else ""


def _whole(value: float) -> str:
    return f"{round(value):,}"


def _scaled(value: float, scale: tuple[tuple[int, str], ...], step: int) -> str:
    """Three significant digits in the largest unit that leaves at least 1."""
    for factor, name in scale:
        amount = value / factor
        # Rounding may carry into the next unit: 1,023.9 KiB reads as 1.00 MiB.
        if abs(round(amount)) < step or name == scale[-1][1]:
            break
    size = abs(amount)
    decimals = 2 if size < 9.995 else 1 if size < 99.95 else 0
    return f"{amount:,.{decimals}f} {name}"
