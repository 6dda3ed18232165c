from __future__ import annotations

import pytest

from reactivate.workload import vectors


def test_vectors_are_the_same_everywhere() -> None:
    assert vectors.vector(1)[:3] == (-0.7313, 0.6949, 0.5275)
    assert vectors.corpus() is vectors.corpus()  # formatted once
    assert vectors.corpus().count(b"\n") == vectors.CORPUS_VECTORS == 1300


def test_every_line_has_its_dimensions_and_no_two_are_equal() -> None:
    lines = vectors.corpus(200).decode().splitlines()
    assert len(set(lines)) == 200
    for line in [*lines, vectors.single(3).decode().strip()]:
        values = [float(text) for text in line.split(",")]
        assert len(values) == vectors.DIMENSIONS == 128
        assert all(-1 <= value <= 1 for value in values)


def test_queries_and_singles_are_not_in_the_corpus() -> None:
    corpus = set(vectors.corpus().decode().splitlines())
    for repetition in range(50):
        line = vectors.query(repetition).decode().splitlines()[0]
        assert line.removeprefix("vector: ") not in corpus
        assert vectors.single(repetition).decode().strip() not in corpus
    assert vectors.query(1) != vectors.query(2)
    assert vectors.single(1) != vectors.single(2)


def test_a_query_asks_for_more_than_there_is_so_that_the_walk_is_deepest() -> None:
    text = vectors.query(0).decode().splitlines()
    assert text[1:] == ["k: 5", "ef: 2000"]
    assert vectors.SEARCH_EF > vectors.CORPUS_VECTORS


def test_parse_answer() -> None:
    assert vectors.parse_answer(b"a b.vec:3 0.5\nc:1 2\n") == (("a b.vec:3", 0.5), ("c:1", 2.0))
    assert vectors.parse_answer(b"") == ()
    for wrong in (b"nothing\n", b"a:1 near\n", b"\n"):
        with pytest.raises(ValueError):
            vectors.parse_answer(wrong)
