from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reactivate import units
from reactivate.errors import ExitCode, UsageError
from reactivate.evidence import Dimension

ONE_OF_EACH = {"B": 1, "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3}


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [
        ("0", 0),
        ("8192", 8192),
        ("8192 B", 8192),
        ("64 KiB", 65536),
        ("64KiB", 65536),
        (" 1.5 MiB ", 1572864),
        ("0.5 GiB", 536870912),
        ("18014398509481985 B", 18014398509481985),  # beyond a float's whole numbers
    ],
)
def test_reads_sizes(text: str, size_bytes: int) -> None:
    assert units.parse_bytes(text) == size_bytes


@pytest.mark.parametrize(
    ("text", "duration_ns"),
    [("1 ns", 1), ("5us", 5_000), ("5 µs", 5_000), ("5 μs", 5_000), ("250 ms", 250_000_000),
     ("1.5 s", 1_500_000_000)],
)  # fmt: skip
def test_reads_durations_and_both_letters_mu(text: str, duration_ns: int) -> None:
    assert units.parse_duration_ns(text) == duration_ns


@pytest.mark.parametrize(
    ("text", "meant"),
    [("64 kB", "64 KiB"), ("64 KB", "64 KiB"), ("1.5 MB", "1.5 MiB"), ("2 GB", "2 GiB"),
     ("3 M", "3 MiB"), ("3 bytes", "3 B")],
)  # fmt: skip
def test_refuses_decimal_units_and_names_the_binary_one(text: str, meant: str) -> None:
    with pytest.raises(UsageError) as refused:
        units.parse_bytes(text)
    assert meant in refused.value.hint
    assert refused.value.exit_code is ExitCode.USAGE


@pytest.mark.parametrize(
    "text",
    ["", "B", "-1 B", "1 KiB KiB", "1e3", "1,000", "nan", "5 ms", "0.3 B", "9" * 5000, "9" * 31],
)
def test_refuses_what_is_no_size(text: str) -> None:
    with pytest.raises(UsageError, match="is not a"):
        units.parse_bytes(text)


@pytest.mark.parametrize("text", ["5", "5 KiB", "5 min", "0.5 ns", "s"])
def test_refuses_what_is_no_duration(text: str) -> None:
    with pytest.raises(UsageError, match="is not a"):
        units.parse_duration_ns(text)


@given(number=st.integers(0, 10**6), unit=st.sampled_from(sorted(ONE_OF_EACH)))
def test_a_size_is_its_number_times_its_unit(number: int, unit: str) -> None:
    assert units.parse_bytes(f"{number} {unit}") == number * ONE_OF_EACH[unit]


@given(st.text(max_size=20))
def test_any_text_is_a_size_or_a_usage_error(text: str) -> None:
    try:
        assert units.parse_bytes(text) >= 0
    except UsageError as error:
        assert error.hint or error.why


@pytest.mark.parametrize(
    ("size_bytes", "shown"),
    [
        (0, "0 B"),
        (8232, "8,232 B"),
        (2058.4, "2,058 B"),
        (16383, "16,383 B"),
        (16384, "16.0 KiB"),
        (42190, "41.2 KiB"),
        (2841728, "2.71 MiB"),
        (8 << 20, "8.00 MiB"),
        ((1 << 20) - 1, "1.00 MiB"),
        (-896, "-896 B"),
        (-20000, "-19.5 KiB"),
        (3 << 40, "3,072 GiB"),
        (math.nan, "not a number"),
        (math.inf, "infinite"),
    ],
)
def test_shows_sizes(size_bytes: float, shown: str) -> None:
    assert units.format_bytes(size_bytes) == shown


@pytest.mark.parametrize(
    ("duration_ns", "shown"),
    [
        (0, "0 ns"),
        (412, "412 ns"),
        (999.7, "1.00 µs"),
        (3_210_000, "3.21 ms"),
        (999_999, "1.00 ms"),
        (250_000_000, "250 ms"),
        (1_080_000_000, "1.08 s"),
        (300 * 10**9, "300 s"),
        (math.nan, "not a number"),
    ],
)
def test_shows_durations(duration_ns: float, shown: str) -> None:
    assert units.format_duration_ns(duration_ns) == shown


@pytest.mark.parametrize(
    ("share", "shown"),
    [
        (0, "0 %"),
        (0.0009, "0.09 %"),
        (0.339, "33.9 %"),
        (0.9998, "99.98 %"),
        (0.9999999, "99.99 %"),
        (1, "100 %"),
        (1.5, "150.0 %"),
    ],
)
def test_shows_shares_and_never_rounds_up_to_everything(share: float, shown: str) -> None:
    assert units.format_percent(share) == shown


def test_shares_can_be_asked_for_with_fewer_decimals() -> None:
    assert units.format_percent(0.00503, decimals=1) == "0.5 %"
    assert units.format_percent(0.9999, decimals=0) == "99 %"


def test_shows_ratios_and_counts() -> None:
    assert units.format_ratio(1.08) == "1.08×"
    assert units.format_count(1229) == "1,229"
    assert units.format_count(12.5) == "12.50"
    assert units.format_ratio(math.inf) == "infinite"


def test_every_dimension_has_its_form() -> None:
    shown = {dimension: units.format_quantity(100_000, dimension) for dimension in Dimension}
    assert shown == {
        Dimension.BYTES: "97.7 KiB",
        Dimension.NANOSECONDS: "100 µs",
        Dimension.COUNT: "100,000",
        Dimension.RATIO: "100,000.00×",
    }


@given(st.integers(0, 1 << 50))
def test_a_shown_size_read_again_is_the_size_within_its_last_digit(size_bytes: int) -> None:
    number, unit = units.format_bytes(size_bytes).replace(",", "").split()
    again = float(number) * ONE_OF_EACH[unit]
    assert abs(again - size_bytes) <= 0.006 * size_bytes
