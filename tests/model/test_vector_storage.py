from __future__ import annotations

import ctypes
import errno
import math
import os
import re
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import pytest
import vector_library as built
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from model.library import ConfigurationFault, Library
from model.vector_storage import VectorStorage

LIMIT = 1e16
NUMBER = re.compile(rb"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")


def as_float(number: float) -> float:
    """The number after it was stored in four bytes."""
    result: float = struct.unpack("f", struct.pack("f", number))[0]
    return result


def read(text: bytes, dimensions: int) -> list[list[float]] | None:
    """What a `.vec` text holds, by the words of its description; None when it is refused."""
    if not text:
        return []
    lines = text.removesuffix(b"\n").split(b"\n")
    ended = [True] * (len(lines) - 1) + [text.endswith(b"\n")]
    result = []
    for line, has_end in zip(lines, ended, strict=True):
        fields = (line.removesuffix(b"\r") if has_end else line).split(b",")
        row = []
        for field in fields:
            number = field.strip(b" \t")
            if not NUMBER.fullmatch(number):
                return None
            try:
                value = as_float(float(number))
            except OverflowError:
                return None
            if abs(value) > as_float(LIMIT):
                return None
            row.append(value)
        if len(row) != dimensions:
            return None
        result.append(row)
    return result


def stored(store: VectorStorage, path: str) -> list[list[float]]:
    """Every vector of a file, by its lines."""
    c = built.library().functions
    rows = []
    while (number := c.vector_storage_find(store.store, path.encode(), len(rows) + 1)) >= 0:
        assert store.identify(number) == f"{path}:{len(rows) + 1}".encode()
        row = (ctypes.c_float * store.dimensions)()
        assert c.vector_storage_get(store.store, number, row) == 0
        rows.append(list(row))
    return rows


def refused(store: VectorStorage, content: bytes) -> str:
    """Why the store refuses a text."""
    with pytest.raises(OSError) as caught:
        store.closed("a.vec", content)
    assert caught.value.errno == errno.EINVAL
    return str(caught.value.strerror)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"1,2", "line 1: 2 numbers, expected 3"),
        (b"1,2,3,4", "line 1: more than 3 numbers"),
        (b"1,2,3\n1,2\n", "line 2: 2 numbers, expected 3"),
        (b"1,,3", "line 1: number 2 is not a number"),
        (b"1,2,", "line 1: number 3 is not a number"),
        (b",1,2,3", "line 1: number 1 is not a number"),
        (b"\n", "line 1: number 1 is not a number"),
        (b"1,2,3\n\n", "line 2: number 1 is not a number"),
        (b"1,2,3\n\n1,2,3\n", "line 2: number 1 is not a number"),
        (b"1,nan,3", "line 1: number 2 is not a number"),
        (b"1,inf,3", "line 1: number 2 is not a number"),
        (b"1,-Infinity,3", "line 1: number 2 is not a number"),
        (b"1,0x10,3", "line 1: number 2 is followed by garbage"),
        (b"1,2 3,4", "line 1: number 2 is followed by garbage"),
        (b"1;2;3", "line 1: number 1 is followed by garbage"),
        (b"1,.,3", "line 1: number 2 is not a number"),
        (b"1,+,3", "line 1: number 2 is not a number"),
        (b"1,--2,3", "line 1: number 2 is not a number"),
        (b"1,2e,3", "line 1: number 2 is not a number"),
        (b"1,2e+,3", "line 1: number 2 is not a number"),
        (b"1,2.5.1,3", "line 1: number 2 is followed by garbage"),
        (b"1,1_000,3", "line 1: number 2 is followed by garbage"),
        (b"1,2\x00,3", "line 1: number 2 is followed by garbage"),
        (b"1,2,3\r", "line 1: number 3 is followed by garbage"),
        (b"1,\xd9\xa1,3", "line 1: number 2 is not a number"),
        (b"1,1e17,3", "line 1: number 2 is beyond 1e+16"),
        (b"1,-1e999999999999,3", "line 1: number 2 is beyond 1e+16"),
        (b"1," + b"1" * 128 + b",3", "line 1: number 2 is too long"),
    ],
)
def test_refuses(content: bytes, why: str) -> None:
    assert refused(built.storage(3), content) == why


@pytest.mark.parametrize(
    ("content", "rows"),
    [
        (b"", []),
        (b"1,2", [[1, 2]]),
        (b"1,2\n", [[1, 2]]),
        (b"1,2\r\n3,4\r\n", [[1, 2], [3, 4]]),
        (b" 1 ,\t-2.5\t\n", [[1, -2.5]]),
        (b"+.5,5.\n", [[0.5, 5]]),
        (b"1e2,1E-2\n", [[100, as_float(0.01)]]),
        (b"-0,0e999999999999\n", [[0, 0]]),
        (b"1e-400,16777217\n", [[0, 16777216]]),
        (b"0.1000000000000000055511151231257827,12345678901234567890e-4\n",
         [[as_float(0.1), as_float(1234567890123456.789)]]),
        (b"1e16,-1e16\n", [[as_float(1e16), as_float(-1e16)]]),
    ],
)  # fmt: skip
def test_accepts(content: bytes, rows: list[list[float]]) -> None:
    store = built.storage(2)
    store.closed("a.vec", content)
    assert stored(store, "a.vec") == rows


def one_number(store: VectorStorage, written: str) -> float:
    return store.parse(written.encode())[0]


@given(
    number=st.floats(min_value=-1e16, max_value=1e16, allow_subnormal=True),
    form=st.sampled_from(("{!r}", "{:.9g}", "{:.17g}", "{:f}", "{:.3e}", "{:+.60e}")),
)
@settings(max_examples=500, deadline=None)
def test_a_number_is_the_float_nearest_to_it(number: float, form: str) -> None:
    written = form.format(number)
    assert one_number(built.storage(1), written) == as_float(float(written))


@given(mantissa=st.integers(2**23, 2**24 - 1), shift=st.integers(-40, 20))
@settings(max_examples=300, deadline=None)
def test_numbers_around_the_middle_of_two_floats_are_rounded_as_everywhere(
    mantissa: int, shift: int
) -> None:
    middle = (mantissa + 0.5) * 2.0**shift
    store = built.storage(1)
    for number in (middle, math.nextafter(middle, 0), math.nextafter(middle, math.inf)):
        for written in (repr(number), f"{number:.18e}", f"{number:.60f}".rstrip("0")):
            assert one_number(store, written) == as_float(float(written)), written


@given(
    content=st.binary(max_size=60)
    | st.text("0123456789+-.eE, \t\r\nxin", max_size=60).map(str.encode)
    | st.lists(
        st.lists(
            st.sampled_from((b"1", b"-2.5", b"3e1", b" 4 ", b"", b"nan", b"1e99", b".")),
            min_size=1,
            max_size=3,
        ).map(b",".join),
        max_size=4,
    ).map(b"\n".join)
)
@settings(max_examples=600, deadline=None)
def test_any_text_is_taken_or_refused_as_described(content: bytes) -> None:
    store = built.storage(2)
    try:
        expected = read(content, 2)
        if expected is None:
            refused(store, content)
            assert stored(store, "a.vec") == []
        else:
            store.closed("a.vec", content)
            assert stored(store, "a.vec") == expected
    finally:
        store.close()


class AsADictionary(RuleBasedStateMachine):
    """The store against a dictionary from path to rows."""

    paths = st.sampled_from(("a.vec", "b.vec", "folder/a.vec", "c with blanks.vec"))

    def __init__(self) -> None:
        super().__init__()
        self.store = built.storage(2)
        self.model: dict[str, list[list[float]]] = {}

    @rule(path=paths, count=st.integers(0, 40), first=st.integers(-1000, 1000))
    def put(self, path: str, count: int, first: int) -> None:
        rows = [[float(first + n), float(n)] for n in range(count)]
        self.store.closed(path, built.text(rows))
        self.model[path] = rows

    @rule(path=paths)
    def put_garbage(self, path: str) -> None:
        with pytest.raises(OSError):
            self.store.closed(path, b"1,2\n3,4\n5\n")

    @rule(path=paths)
    def remove(self, path: str) -> None:
        self.store.removed(path)
        self.model.pop(path, None)

    @rule(old=paths, new=paths)
    def rename(self, old: str, new: str) -> None:
        self.store.renamed(old, new)
        if old in self.model:
            self.model[new] = self.model.pop(old)

    @invariant()
    def same(self) -> None:
        assert {path: stored(self.store, path) for path in self.model} == self.model
        assert self.store.stats()["vectors"] == str(sum(map(len, self.model.values())))

    def teardown(self) -> None:
        self.store.close()


TestAsADictionary = AsADictionary.TestCase
TestAsADictionary.settings = settings(max_examples=60, stateful_step_count=20, deadline=None)


def test_a_refused_text_leaves_what_the_file_held() -> None:
    store = built.storage(2)
    store.closed("a.vec", b"1,2\n3,4\n")
    refused(store, b"5,6\n7\n")
    assert stored(store, "a.vec") == [[1, 2], [3, 4]]
    assert store.stats() == {
        "vectors": "2",
        "dimensions": "2",
        "vector_error": "line 2: 1 numbers, expected 2",
    }


def test_other_files_are_none_of_its_business() -> None:
    store = built.storage(2)
    for name in ("notes.txt", ".vec", "folder.vec/notes"):
        assert store.closed(name, b"hello") is None
        store.removed(name)
        store.renamed(name, "other.txt")
    assert store.stats() == {"vectors": "0", "dimensions": "2"}


def test_a_name_with_a_line_break_stays_one_line() -> None:
    store = built.storage(1)
    store.closed("a\\b\nc.vec", b"1")
    assert store.identify(0) == b"a\\\\b\\nc.vec:1"


def test_an_unknown_id_is_refused() -> None:
    with pytest.raises(OSError) as caught:
        built.storage(1).identify(0)
    assert caught.value.errno == errno.ENOENT


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"dimensions": 0}, "dimensions is 0, expected a whole number from 1 to 4096"),
        ({"dimensions": 4097}, "dimensions is 4097"),
        ({"dimensions": True}, "dimensions is True"),
        ({"dimensions": "128"}, "dimensions is '128'"),
        ({"dimension": 128}, "no setting 'dimension'; known: dimensions"),
    ],
)
def test_a_wrong_setting_is_refused(section: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigurationFault, match=re.escape(message)):
        VectorStorage(built.library(), section, {})


def test_the_widest_vectors_fit() -> None:
    store = built.storage(4096)
    rows = built.vectors(20, 4096, seed=1)
    store.closed("wide.vec", built.text(rows))
    assert stored(store, "wide.vec") == rows


def test_bulk_text_is_read() -> None:
    store = built.storage(128)
    store.closed("bulk.vec", built.text(built.vectors(1300, 128, seed=2)))
    assert store.stats()["vectors"] == "1300"


GERMAN = """
import locale, sys
import vector_library as built
locale.setlocale(locale.LC_ALL, "de_DE.UTF-8")
assert locale.str(1.5) == "1,5", "the locale does not work"
store = built.storage(1)
# The second is too long for the quick way and goes through the C library.
assert [store.parse(text)[0] for text in (b"1.5", b"1.50000000000000000000000001")] == [1.5, 1.5]
"""


def test_the_decimal_point_is_a_point_in_every_locale(tmp_path: Path) -> None:
    if shutil.which("localedef") is None or not Path("/usr/share/i18n/locales/de_DE").exists():
        pytest.skip("localedef and its definition of de_DE are not installed (package locales)")
    subprocess.run(
        ["localedef", "-i", "de_DE", "-f", "UTF-8", str(tmp_path / "de_DE.UTF-8")],
        check=True,
        timeout=60,
    )
    environment = {**os.environ, "LOCPATH": str(tmp_path), "PYTHONPATH": built.SEARCH_PATH}
    environment.pop("LC_ALL", None)
    subprocess.run([sys.executable, "-c", GERMAN], check=True, env=environment, timeout=60)


def test_without_the_search_engine_nothing_of_it_is_in_the_library() -> None:
    alone = Library(built.build("vector_storage"))
    assert alone.components == ("vector_storage",)
    assert not hasattr(alone.functions, "search_engine_query")
    store = VectorStorage(alone, {}, {})
    store.closed("a.vec", built.text(built.vectors(3, 128, seed=3)))
    assert store.stats() == {"vectors": "3", "dimensions": "128"}
