"""Damage to real files: what a hand, a bad disk or an enemy makes of them.

Each change draws from what is there (lines, words, bytes), so that most results are nearly right;
that leads deeper into a parser than random text, which is drawn too.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import TypeVar

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st

from reactivate.errors import ExitCode, ReactivateError

Value = TypeVar("Value")

DEADLINE_SECONDS = 20
"""Of one example. Far more than any needs, so that a busy machine is no hang."""

_FEW = 20


def examples(share: float = 1.0) -> settings:
    """How a test of this folder runs: `FUZZ_EXAMPLES` examples, else few, times a share."""
    asked = os.environ.get("FUZZ_EXAMPLES")
    return settings(
        phases=[Phase.explicit, Phase.generate, Phase.shrink],
        max_examples=max(4, int((int(asked) if asked else _FEW) * share)),
        deadline=DEADLINE_SECONDS * 1000,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


HOSTILE = (
    "", "\0", "\r", "\x0b", "\x1b[2J", "\u2028", "\u202e", "\ufeff", "\ud800", "é" * 40, "-1", "0",
    "9" * 25, "9" * 5000, "9" * 400, "0x" + "f" * 5000, "1e400", "-inf", "nan", "0x",
    "1_000", "٣", "²", "../../x", "/etc/passwd",
    "a/../..", "$HOME", "{}", "{x}", "{0.__class__}", "%s", "`", "'", '"', '"""', "\\", "\\u12",
    "[", "]", "[[", "{", "}", "=", "<", "&amp;", "null", "true", "[]", "{}", "1979-13-45",
    "25:61:61", "[" * 5000, "(" * 5000, "{" * 5000, "a." * 5000, "- " * 2000, "> " * 500,
    '{"a":' * 5000, "<a>" * 2000,
)  # fmt: skip


def _tokens(text: str) -> list[str]:
    found, word = [], ""
    for letter in text:
        if letter.isalnum() or letter == "_":
            word += letter
            continue
        found += [word, letter] if word else [letter]
        word = ""
    return [*found, word] if word else found


def _change(parts: list[str], chance: Random, others: Sequence[str]) -> None:
    at, other = (chance.randrange(len(parts)) for _ in range(2))
    match chance.randrange(6):
        case 0:
            del parts[at]
        case 1:
            parts.insert(other, parts[at])
        case 2:
            parts[at], parts[other] = parts[other], parts[at]
        case 3:
            parts[at] = chance.choice(others)
        case 4:
            parts.insert(at, chance.choice(others))
        case _:
            del parts[at : at + chance.randrange(1, 8)]


def _other_value(text: str, chance: Random) -> str:
    """One `key = value` with another value: that of a key elsewhere, or a hostile word."""
    lines = text.splitlines(keepends=True)
    places = [at for at, line in enumerate(lines) if "=" in line and not line.startswith("#")]
    if places:
        at, other = chance.choice(places), chance.choice(places)
        value = chance.choice([chance.choice(HOSTILE), lines[other].partition("=")[2].strip()])
        lines[at] = f"{lines[at].partition('=')[0]}= {value}\n"
    return "".join(lines)


def damaged_text(text: str, seed: int) -> str:
    """A text with one to six changes of lines, words or characters, or cut off."""
    chance = Random(seed)
    for _ in range(chance.randrange(1, 7)):
        if "=" in text and chance.random() < 0.3:
            text = _other_value(text, chance)
            continue
        split: Callable[[str], list[str]] = chance.choice(
            [_tokens, _tokens, lambda t: t.splitlines(keepends=True), list]
        )
        if parts := split(text):
            _change(parts, chance, HOSTILE)
        text = "".join(parts)
        if chance.random() < 0.05:
            text = text[: chance.randrange(len(text) + 1)]
    return text


def damaged_bytes(raw: bytes, seed: int) -> bytes:
    """Bytes with one to eight flips, overwrites, repeats or holes, or cut off."""
    chance, found = Random(seed), bytearray(raw)
    for _ in range(chance.randrange(1, 9)):
        if not found:
            break
        at = chance.randrange(len(found))
        if chance.random() < 0.3:  # headers are small and matter most
            at %= 512
        match chance.randrange(6):
            case 0:
                found[at] ^= 1 << chance.randrange(8)
            case 1:
                found[at : at + 8] = chance.choice([b"\0" * 8, b"\xff" * 8, b"\x7f" * 8])
            case 2:
                found[at : at + 16] = chance.randbytes(16)
            case 3:
                found[at:at] = found[at : at + chance.randrange(1, 512)]
            case 4:
                del found[at : at + chance.randrange(1, 512)]
            case _:
                if chance.random() < 0.3:
                    del found[at:]
    return bytes(found)


SEEDS = st.integers(0, (1 << 62) - 1)


def texts(real: Sequence[str]) -> st.SearchStrategy[str]:
    """Damage to one of some real texts, mostly; else any text, or hostile words in a row."""
    damaged = st.builds(damaged_text, st.sampled_from(list(real)), SEEDS)
    words = st.lists(st.sampled_from(HOSTILE), max_size=6).map(" ".join)
    return st.one_of(damaged, damaged, damaged, damaged, words, st.text(max_size=300))


def encoded(text: str) -> bytes:
    """Its bytes; half of a surrogate pair becomes bytes that are no UTF-8."""
    return text.encode("utf-8", "surrogatepass")


def answered(call: Callable[[], Value]) -> Value | None:
    """What a call gives; None if it refused with an error of ours, under a code of the contract."""
    try:
        return call()
    except ReactivateError as error:
        assert error.exit_code not in (ExitCode.DONE, ExitCode.BUG), repr(error)
        assert error.what
        return None


def _listing(folder: Path, without: Path) -> dict[str, tuple[int, int]]:
    return {
        str(path): (found.st_size, found.st_mtime_ns)
        for path in folder.rglob("*")
        if path != without and without not in path.parents
        if (found := path.lstat()) and not path.is_dir()
    }


@contextmanager
def nothing_written_beside(inside: Path) -> Iterator[None]:
    """In the folder that holds `inside`, only `inside` may change while the body runs."""
    before = _listing(inside.parent, inside)
    yield
    assert _listing(inside.parent, inside) == before
