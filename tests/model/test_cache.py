"""The cache in C against a dictionary of blocks, and against the files it is in front of."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from model.cache_manager import BLOCK_BYTES, CacheManager
from model.library import ConfigurationFault, Library
from model.nodes import File
from mounting import built

BLOCKS = 4
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("read"), st.integers(0, 2), st.integers(0, 30000), st.integers(0, 20000)),
        st.tuples(
            st.just("write"), st.integers(0, 2), st.integers(0, 30000), st.binary(max_size=99)
        ),
        st.tuples(st.just("resize"), st.integers(0, 2), st.integers(0, 30000), st.just(0)),
        st.tuples(st.just("drop"), st.integers(0, 2), st.just(0), st.just(0)),
    ),
    max_size=60,
)


@pytest.fixture(scope="module")
def make() -> Callable[[int], CacheManager]:
    library = Library(built("cache_manager"))
    return lambda capacity_bytes: CacheManager(library, {"capacity_bytes": capacity_bytes}, {})


def counts(cache: CacheManager) -> dict[str, int]:
    return {key: int(value) for key, value in cache.stats().items()}


def file_of(inode: int, content: bytes) -> File:
    file = File(inode)
    file.content[:] = content
    return file


@settings(deadline=None, max_examples=150)
@given(steps=STEPS)
def test_never_stale_and_never_too_large(make: Callable[[int], CacheManager], steps) -> None:
    cache = make(BLOCKS * BLOCK_BYTES)
    files = [file_of(number + 100, bytes([65 + number]) * 9000) for number in range(3)]
    for kind, number, place, argument in steps:
        file = files[number]
        if kind == "read":
            assert cache.read(file, place, argument) == file.content[place : place + argument]
        elif kind == "write":
            file.content.extend(bytes(max(0, place - len(file.content))))
            file.content[place : place + len(argument)] = argument
            cache.update(file.inode, place, argument)
        elif kind == "resize":
            cache.invalidate(file.inode, min(place, len(file.content)))
            file.content[place:] = bytes(max(0, place - len(file.content)))
        else:
            cache.invalidate(file.inode)
        held = counts(cache)
        assert held["cache_entries"] <= BLOCKS
        assert held["cache_bytes"] == held["cache_entries"] * BLOCK_BYTES
    cache.close()


def test_least_recently_used_goes_first(make: Callable[[int], CacheManager]) -> None:
    cache = make(2 * BLOCK_BYTES)
    file = file_of(9, bytes(3 * BLOCK_BYTES))
    for block in (0, 1, 0, 2, 0, 1):
        cache.read(file, block * BLOCK_BYTES, 10)
    # 0 miss, 1 miss, 0 hit, 2 miss over 1, 0 hit, 1 miss over 2
    found = counts(cache)
    assert (found["cache_hits"], found["cache_misses"], found["cache_evictions"]) == (2, 4, 2)
    cache.close()


def test_invalidation_drops_only_what_it_names(make: Callable[[int], CacheManager]) -> None:
    cache = make(8 * BLOCK_BYTES)
    first, second = file_of(1, bytes(3 * BLOCK_BYTES)), file_of(2, bytes(BLOCK_BYTES))
    cache.read(first, 0, 3 * BLOCK_BYTES)
    cache.read(second, 0, 1)
    cache.invalidate(1, BLOCK_BYTES, 2 * BLOCK_BYTES)
    assert counts(cache)["cache_entries"] == 3
    cache.invalidate(1)
    assert counts(cache)["cache_entries"] == 1
    cache.read(second, 0, 1)
    assert counts(cache)["cache_hits"] == 1
    cache.close()


def test_a_read_longer_than_one_call(make: Callable[[int], CacheManager]) -> None:
    cache = make(16 * BLOCK_BYTES)
    content = bytes(range(256)) * 16 * 1100
    assert cache.read(file_of(5, content), 77, len(content)) == content[77:]
    cache.close()


def test_capacity_below_one_block_is_refused(make: Callable[[int], CacheManager]) -> None:
    with pytest.raises(ConfigurationFault, match="at least 4096"):
        make(BLOCK_BYTES - 1)
