"""Readers of archives, ELF files, settings and live lines: a value, or an error of ours."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.damage import SEEDS, answered, damaged_bytes, damaged_text, encoded, examples
from tests.fuzz.parsers import Parser, parsers

# The others of `parsers` have tests of their own beside this one.
HERE = ("setting", "live touches", "elf", "pack", "json")


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Parser]:
    return parsers(tmp_path_factory.mktemp("parsers"))


def test_the_undamaged_bytes_are_read(known: dict[str, Parser], tmp_path: Path) -> None:
    assert known.keys() >= {*HERE}
    for name, parser in known.items():
        for raw in parser.real:
            found = answered(lambda parser=parser, raw=raw: parser.read(raw, tmp_path))
            assert found or name == "pack", name  # the archive is of no campaign


@pytest.mark.parametrize("name", HERE)
@examples(1.5)
@given(seed=SEEDS, text=st.none() | st.text(max_size=200))
def test_damaged(
    name: str, seed: int, text: str | None, known: dict[str, Parser], tmp_path: Path
) -> None:
    parser = known[name]
    real = parser.real[seed % len(parser.real)]
    if text is not None:
        raw = encoded(text)
    elif parser.text:
        raw = encoded(damaged_text(real.decode(), seed))
    else:
        raw = damaged_bytes(real, seed)
    answered(lambda: parser.read(raw, tmp_path))
    assert not (tmp_path / "p/unpacked").exists()
