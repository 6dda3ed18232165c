from __future__ import annotations

import errno
import math
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest
import vector_library as built
from hypothesis import given, settings
from hypothesis import strategies as st
from model.library import ConfigurationFault
from model.search_engine import Query, SearchEngine
from model.vector_storage import VectorStorage

WALKS = ("recursive", "iterative")


@dataclass(frozen=True, slots=True, kw_only=True)
class Searchable:
    """A store with its engine."""

    store: VectorStorage
    engine: SearchEngine

    def ask(self, vector: built.Vector, k: int, ef: int | None = None) -> bytes:
        return self.engine.answer(Query(vector=built.line(vector), k=k, ef=ef))

    def stat(self, key: str) -> str:
        return self.engine.stats()[key]


@contextmanager
def searchable(dimensions: int = 128, **options: object) -> Iterator[Searchable]:
    store = built.storage(dimensions)
    engine = built.engine(store, **options)
    try:
        yield Searchable(store=store, engine=engine)
    finally:
        engine.close()
        store.close()


def nearest(vectors: list[built.Vector], query: built.Vector, k: int) -> list[int]:
    """By brute force, and not by our C: the lines of the nearest vectors, nearest first."""
    order = sorted(range(len(vectors)), key=lambda n: (math.dist(vectors[n], query), n))
    return [n + 1 for n in order[:k]]


def lines(answer: bytes) -> list[int]:
    return [int(name.rsplit(":", 1)[1]) for name, _ in built.neighbours(answer)]


def recall(part: Searchable, vectors: list[built.Vector], queries: list[built.Vector]) -> float:
    found = sum(
        len(set(nearest(vectors, query, 10)) & set(lines(part.ask(query, 10, 200))))
        for query in queries
    )
    return found / (10 * len(queries))


@pytest.mark.parametrize("walk", WALKS)
@pytest.mark.parametrize("gaussian", [True, False], ids=["gaussian", "uniform"])
def test_recall_is_at_least_95_percent(walk: str, gaussian: bool) -> None:
    vectors = built.vectors(1000, 128, seed=10, gaussian=gaussian)
    queries = built.vectors(40, 128, seed=11, gaussian=gaussian)
    with searchable(implementation=walk) as part:
        part.store.closed("a.vec", built.text(vectors))
        assert recall(part, vectors, queries) >= 0.95


def test_recall_holds_where_vectors_lie_in_far_clusters() -> None:
    centres = built.vectors(25, 32, seed=17, gaussian=True)
    noise = built.vectors(1000, 32, seed=18, gaussian=True)
    vectors = [
        [centre + 0.01 * jitter for centre, jitter in zip(centres[n // 40], noise[n], strict=True)]
        for n in range(1000)
    ]
    with searchable(32) as part:
        part.store.closed("a.vec", built.text(vectors))
        assert recall(part, vectors, centres) >= 0.95


def test_recall_survives_many_updates_and_deletions() -> None:
    """Each of them alone, so that the graph is mended and not built anew."""
    vectors = built.vectors(1200, 16, seed=12, gaussian=True)
    queries = built.vectors(60, 16, seed=13, gaussian=True)
    with searchable(16, m=4, ef=40) as part:
        for n, vector in enumerate(built.vectors(600, 16, seed=14, gaussian=True)):
            part.store.closed(f"{n}.vec", built.line(vector))
        for n, vector in enumerate(vectors):
            part.store.closed(f"{n}.vec", built.line(vector))
        for n in range(300, 1200):
            part.store.removed(f"{n}.vec")
        assert part.stat("index_nodes") == "300"
        found = 0
        for query in queries:
            expected = {f"{n - 1}.vec:1" for n in nearest(vectors[:300], query, 10)}
            answer = built.neighbours(part.ask(query, 10))
            found += len(expected & {name for name, _ in answer})
        assert found / 600 >= 0.95


@pytest.mark.parametrize("walk", WALKS)
def test_asked_for_all_it_gives_all_in_exact_order(walk: str) -> None:
    vectors = built.vectors(500, 16, seed=15)
    query = built.vectors(1, 16, seed=16)[0]
    with searchable(16, implementation=walk, m=2) as part:
        part.store.closed("a.vec", built.text(vectors))
        answer = part.ask(query, 500)
    assert lines(answer) == nearest(vectors, query, 500)
    for name, distance in built.neighbours(answer):
        vector = vectors[int(name.rsplit(":", 1)[1]) - 1]
        assert distance == pytest.approx(math.dist(vector, query) ** 2, rel=1e-5)


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize(
    ("count", "dimensions"), [(1, 128), (17, 128), (300, 128), (1300, 128), (200, 300), (60, 1000)]
)
def test_both_walks_give_the_same_answers(count: int, dimensions: int, seed: int) -> None:
    content = built.text(built.vectors(count, dimensions, seed=seed, gaussian=bool(seed % 2)))
    queries = built.vectors(6, dimensions, seed=seed + 100, gaussian=bool(seed % 2))
    with (
        searchable(dimensions, implementation="recursive") as one,
        searchable(dimensions, implementation="iterative") as other,
    ):
        for part in (one, other):
            part.store.closed("a.vec", content)
        for query in queries:
            for k, ef in ((1, 1), (5, None), (10, 64), (5, 2000), (count, count)):
                answer = one.ask(query, k, ef)
                assert answer == other.ask(query, k, ef)
                assert len(answer.splitlines()) == min(k, count)
        assert (one.stat("search_implementation"), other.stat("search_implementation")) == WALKS


# Few different numbers, so that equal distances and equal vectors abound.
grid = st.lists(st.integers(-2, 2).map(float), min_size=3, max_size=3)
change = st.one_of(
    st.tuples(st.just("put"), st.integers(0, 5), st.lists(grid, max_size=30)),
    st.tuples(st.just("remove"), st.integers(0, 5), st.just([])),
)


@given(
    changes=st.lists(change, min_size=1, max_size=12),
    query=grid,
    k=st.integers(1, 60),
    ef=st.none() | st.integers(1, 100),
    m=st.integers(2, 5),
)
@settings(max_examples=120, deadline=None)
def test_any_history_gives_the_same_and_enough_answers(
    changes: list[tuple[str, int, list[built.Vector]]],
    query: built.Vector,
    k: int,
    ef: int | None,
    m: int,
) -> None:
    model: dict[str, list[built.Vector]] = {}
    with (
        searchable(3, implementation="recursive", m=m) as one,
        searchable(3, implementation="iterative", m=m) as other,
    ):
        for kind, number, rows in changes:
            path = f"{number}.vec"
            for part in (one, other):
                if kind == "put":
                    part.store.closed(path, built.text(rows))
                else:
                    part.store.removed(path)
            model[path] = rows
        answer = one.ask(query, k, ef)
        assert answer == other.ask(query, k, ef)
        found = built.neighbours(answer)
        total = sum(map(len, model.values()))
        assert one.stat("index_nodes") == str(total)
        assert len({name for name, _ in found}) == len(found) == min(k, total)
        assert [distance for _, distance in found] == sorted(distance for _, distance in found)
        for name, distance in found:
            path, _, line = name.rpartition(":")
            assert distance == math.dist(model[path][int(line) - 1], query) ** 2 or math.isclose(
                distance, math.dist(model[path][int(line) - 1], query) ** 2, rel_tol=1e-6
            )


def test_it_follows_the_store() -> None:
    with searchable(2) as part:
        assert part.ask([0, 0], 5) == b""
        part.store.closed("a.vec", b"1,0\n2,0\n")
        part.store.closed("dir/b.vec", b"0,3\n")
        assert part.ask([0, 0], 5) == b"a.vec:1 1\na.vec:2 4\ndir/b.vec:1 9\n"
        part.store.closed("a.vec", b"5,0\n")
        assert part.ask([0, 0], 5) == b"dir/b.vec:1 9\na.vec:1 25\n"
        part.store.renamed("dir/b.vec", "c.vec")
        assert part.ask([0, 0], 1) == b"c.vec:1 9\n"
        part.store.renamed("a.vec", "c.vec")
        assert part.ask([0, 0], 5) == b"c.vec:1 25\n"
        with pytest.raises(OSError):
            part.store.closed("c.vec", b"broken")
        assert part.ask([0, 0], 5) == b"c.vec:1 25\n"
        part.store.removed("c.vec")
        assert part.ask([0, 0], 5) == b""
        assert part.engine.stats() == {
            "search_implementation": "recursive",
            "searches": "7",
            "index_nodes": "0",
        }


def test_an_engine_started_late_finds_what_is_stored() -> None:
    vectors = built.vectors(200, 8, seed=20)
    store = built.storage(8)
    store.closed("a.vec", built.text(vectors[:150]))
    store.closed("b.vec", built.text(vectors[150:]))
    store.removed("b.vec")
    engine = built.engine(store)
    part = Searchable(store=store, engine=engine)
    assert part.stat("index_nodes") == "150"
    assert lines(part.ask(vectors[7], 1)) == [8]
    engine.close()
    # And the store goes on without it.
    store.closed("b.vec", built.text(vectors[150:]))
    assert store.stats()["vectors"] == "200"
    store.close()


def test_equal_distances_are_ordered_by_age() -> None:
    with searchable(2) as part:
        part.store.closed("a.vec", b"1,0\n0,1\n-1,0\n0,-1\n1,0\n")
        assert lines(part.ask([0, 0], 5)) == [1, 2, 3, 4, 5]


def test_a_search_file_holds_its_answer() -> None:
    with searchable(2) as part:
        part.store.closed("a.vec", b"".join(b"%d,0\n" % n for n in range(1, 9)))
        assert part.engine.closed("q.search", b"vector: 0,0\nk: 2\nef: 2000\n") == (
            b"a.vec:1 1\na.vec:2 4\n"
        )
        assert part.engine.closed("q.search", b"k:1\r\n\r\nvector:0, 0\r\n") == b"a.vec:1 1\n"
        assert len(lines(part.engine.closed("q.search", b"vector: 0,0") or b"")) == 5
        assert part.engine.closed("q.txt", b"vector: 0,0\n") is None
        part.engine.loaded("q.search", b"a.vec:1 1\n")


def test_the_search_file_of_the_mount_takes_queries_and_bare_vectors() -> None:
    with searchable(2) as part:
        part.store.closed("a.vec", b"1,0\n2,0\n")
        assert part.engine.virtual_names == ("search",)
        assert part.engine.virtual("search") == b""
        part.engine.virtual_write("search", b"2,0\n")
        assert part.engine.virtual("search") == b"a.vec:2 0\na.vec:1 1\n"
        part.engine.virtual_write("search", b"vector: 1,0\nk: 1\n")
        assert part.engine.virtual("search") == b"a.vec:1 0\n"
        with pytest.raises(OSError):
            part.engine.virtual_write("search", b"1,2,3")
        assert part.engine.virtual("search") == b"", "an old answer is none to a refused query"
        assert part.engine.virtual("other") is None


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "'vector:' is missing"),
        (b"k: 5\n", "'vector:' is missing"),
        (b"vector:\n", "no numbers"),
        (b"vector: 1\n", "line 1: 1 numbers, expected 2"),
        (b"vector: 1,2,3\n", "line 1: more than 2 numbers"),
        (b"vector: 1,nan\n", "line 1: number 2 is not a number"),
        (b"vector: 1,2\nvector: 1,2\n", "'vector:' is there twice"),
        (b"vector: 1,2\nk: 0\n", "'k' must be a whole number from 1 to 10000"),
        (b"vector: 1,2\nk: 10001\n", "'k' must be a whole number from 1 to 10000"),
        (b"vector: 1,2\nk: -1\n", "'k' must be a whole number from 1 to 10000"),
        (b"vector: 1,2\nk: 5.0\n", "'k' must be a whole number from 1 to 10000"),
        (b"vector: 1,2\nk: \xd9\xa3\n", "'k' must be a whole number from 1 to 10000"),
        (b"vector: 1,2\nk:\n", "'k' must be a whole number from 1 to 10000"),
        (b"vector: 1,2\nef: 0\n", "'ef' must be a whole number from 1 to 10000"),
        (b"vector: 1,2\nef: 99999999999999999999\n", "'ef' must be a whole number from 1 to"),
        (b"vector: 1,2\nK: 5\n", "a query has the lines 'vector:', 'k:' and 'ef:' and no others"),
        (b"1,2\n", "a query has the lines 'vector:', 'k:' and 'ef:' and no others"),
    ],
)
def test_a_wrong_query_is_refused(content: bytes, why: str) -> None:
    with searchable(2) as part:
        part.store.closed("a.vec", b"1,2\n")
        with pytest.raises(OSError, match=re.escape(why)) as caught:
            part.engine.closed("q.search", content)
        assert caught.value.errno == errno.EINVAL
        assert part.stat("searches") == "0"


@given(content=st.binary(max_size=80) | st.text("vectorkef:0123456789,.-\n ").map(str.encode))
@settings(max_examples=300, deadline=None)
def test_any_query_text_is_answered_or_refused(content: bytes) -> None:
    with searchable(1) as part:
        part.store.closed("a.vec", b"1\n")
        for write in (lambda: part.engine.closed("q.search", content),
                      lambda: part.engine.virtual_write("search", content)):  # fmt: skip
            try:
                write()
            except OSError as error:
                assert error.errno == errno.EINVAL


def test_the_width_of_searches_can_be_set() -> None:
    vectors = built.vectors(800, 64, seed=30, gaussian=True)
    queries = built.vectors(30, 64, seed=31, gaussian=True)
    with searchable(64, ef=1) as part:
        part.store.closed("a.vec", built.text(vectors))

        def hits() -> int:
            return sum(lines(part.ask(query, 1)) == nearest(vectors, query, 1) for query in queries)

        narrow = hits()
        assert part.engine.controls() == {"ef": "1"}
        assert part.engine.control("ef", " 2000 ")
        assert part.engine.controls() == {"ef": "2000"}
        assert hits() == 30 > narrow
        for wrong in ("0", "10001", "many", "", "٣"):
            with pytest.raises(OSError, match="'ef' must be a whole number from 1 to 10000"):
                part.engine.control("ef", wrong)
        assert part.engine.controls() == {"ef": "2000"}
        assert not part.engine.control("k", "5")


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"implementation": "fast"}, "expected \"recursive\" or \"iterative\""),
        ({"implementation": 1}, "implementation is 1"),
        ({"implementation": []}, "implementation is []"),
        ({"m": 1}, "m is 1, expected a whole number from 2 to 64"),
        ({"m": 65}, "m is 65"),
        ({"ef": 0}, "ef is 0"),
        ({"ef_construction": 10001}, "ef_construction is 10001"),
        ({"ef_search": 50}, "no setting 'ef_search'; known: implementation, m, ef_construction"),
    ],
)  # fmt: skip
def test_a_wrong_setting_is_refused(section: dict[str, object], message: str) -> None:
    store = built.storage(2)
    with pytest.raises(ConfigurationFault, match=re.escape(message)):
        built.engine(store, **section)


def test_it_needs_the_store() -> None:
    with pytest.raises(ConfigurationFault, match="search_engine needs vector_storage"):
        SearchEngine(built.library(), {}, {})


def test_all_work_is_done_on_the_callers_thread() -> None:
    """The library cannot start a thread: it imports nothing that could."""
    imports = subprocess.run(
        ["nm", "-D", "--undefined-only", str(built.build())],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    ).stdout
    assert "aligned_alloc" in imports, "the list of imports is readable"
    assert not re.search(r"pthread_create|thrd_create|clone|fork", imports)
