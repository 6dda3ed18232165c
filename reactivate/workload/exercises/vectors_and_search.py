"""Exercises in the language of a VexFS mount: storing vectors, and searching them."""

from __future__ import annotations

from pathlib import Path

from reactivate.workload.exercises.contract import (
    Exercise,
    Outcome,
    Parameter,
    Progress,
    Values,
)
from reactivate.workload.exercises.made_vectors import Shape, batches, bulk, vector
from reactivate.workload.exercises.parallel import in_parallel
from reactivate.workload.exercises.reading import number
from reactivate.workload.mountpath import control, read_file, read_stats, write_file
from reactivate.workload.vectors import DIMENSIONS, parse_answer, search_text

_QUERY_SEED = 1_000_000_007
"""Queries ask for vectors that are in no corpus."""


def _needs_storage(values: Values) -> tuple[str, ...]:
    return ("vector_storage",)


def _needs_search(values: Values) -> tuple[str, ...]:
    return ("vector_storage", "search_engine")


def _stored(mountpoint: Path) -> int:
    told = read_stats(mountpoint).get("vectors", "no vectors")
    if not told.isdecimal():
        raise OSError(None, f"_vexfs/stats counts {told}")
    return int(told)


def _expect_stored(mountpoint: Path, wanted: int) -> None:
    found = _stored(mountpoint)
    if found != wanted:
        raise OSError(None, f"_vexfs/stats counts {found} vectors, and {wanted} were stored")


def _store(
    folder: Path, values: Values, progress: Progress, *, first: int = 0, count: int | None = None
) -> None:
    """Write `count` vectors, beginning with vector `first`, in files of `batch` each."""
    dimensions = number(values, "dimensions")
    wanted = number(values, "vectors") if count is None else count
    folder.mkdir(exist_ok=True)
    for index, start, size in batches(wanted, number(values, "batch")):
        write_file(folder / f"batch-{index}.vec", bulk(first + start, size, dimensions))
        progress.did(size)


def _vectors_store(mountpoint: Path, values: Values, progress: Progress) -> Outcome:
    before = _stored(mountpoint)
    _store(mountpoint / "stored", values, progress)
    _expect_stored(mountpoint, before + number(values, "vectors"))
    return progress.outcome()


def _vectors_update(mountpoint: Path, values: Values, progress: Progress) -> Outcome:
    before = _stored(mountpoint)
    vectors = number(values, "vectors")
    for cycle in range(number(values, "rounds") + 1):
        _store(mountpoint / "updated", values, progress, first=cycle * vectors)
        _expect_stored(mountpoint, before + vectors)
    return progress.outcome()


def _vectors_delete(mountpoint: Path, values: Values, progress: Progress) -> Outcome:
    before = _stored(mountpoint)
    vectors = number(values, "vectors")
    folder = mountpoint / "deleted"
    _store(folder, values, progress)
    left = vectors
    # Every other file first: the holes are between what stays.
    files = list(batches(vectors, number(values, "batch")))
    for index, _, size in [*files[::2], *files[1::2]]:
        (folder / f"batch-{index}.vec").unlink()
        progress.did(size)
        left -= size
    _expect_stored(mountpoint, before + left)
    return progress.outcome()


def _vectors_concurrent(mountpoint: Path, values: Values, progress: Progress) -> Outcome:
    before = _stored(mountpoint)
    vectors, writers = number(values, "vectors"), number(values, "writers")

    def one(writer: int) -> None:
        _store(mountpoint / f"writer-{writer}", values, progress, first=writer * vectors)

    in_parallel(one, writers)
    _expect_stored(mountpoint, before + writers * vectors)
    return progress.outcome()


def _search(mountpoint: Path, values: Values, progress: Progress) -> Outcome:
    dimensions, vectors = number(values, "dimensions"), number(values, "vectors")
    shape = Shape(str(values["shape"]))
    folder = mountpoint / "searched"
    folder.mkdir(exist_ok=True)
    for index, start, size in batches(vectors, number(values, "batch")):
        path = folder / f"{shape}-{index}.vec"
        write_file(path, bulk(start, size, dimensions, shape))
        progress.did(size)
    stored, neighbours = _stored(mountpoint), number(values, "k")
    for query in range(number(values, "queries")):
        near = vector(query * 7 if shape is Shape.LINE else _QUERY_SEED + query, dimensions, shape)
        text = search_text(near, neighbours=neighbours, ef=number(values, "ef"))
        path = control(mountpoint, "search")
        write_file(path, text)
        _check_answer(read_file(path), min(neighbours, stored))
        progress.did()
    return progress.outcome()


def _check_answer(answer: bytes, wanted: int) -> None:
    try:
        pairs = parse_answer(answer)
    except ValueError as error:
        raise OSError(None, str(error)) from None
    if len(pairs) != wanted:
        raise OSError(None, f"the search found {len(pairs)} of {wanted} neighbours")
    distances = [distance for _, distance in pairs]
    if distances != sorted(distances):
        raise OSError(None, "the search's answer does not have the nearest first")


_VECTORS = Parameter(
    kind=int, default=1_000, lowest=1, highest=1_000_000, meaning="how many vectors"
)
_DIMENSIONS = Parameter(
    kind=int,
    default=DIMENSIONS,
    lowest=1,
    highest=65_536,
    meaning="numbers per vector; the target must be configured for as many",
)
_BATCH = Parameter(
    kind=int, default=100, lowest=1, highest=1_000_000, meaning="vectors in each file"
)
_STORING = {"vectors": _VECTORS, "dimensions": _DIMENSIONS, "batch": _BATCH}

VECTORS_AND_SEARCH = (
    Exercise(
        name="vectors_store",
        summary="vectors written in bulk, and counted",
        parameters=_STORING,
        run=_vectors_store,
        needs=_needs_storage,
    ),
    Exercise(
        name="vectors_update",
        summary="vectors stored, then every file replaced by other vectors",
        parameters={
            **_STORING,
            "rounds": Parameter(
                kind=int, default=1, lowest=1, highest=10_000, meaning="how often each is replaced"
            ),
        },
        run=_vectors_update,
        needs=_needs_storage,
    ),
    Exercise(
        name="vectors_delete",
        summary="vectors stored, then every other file removed, then the rest",
        parameters=_STORING,
        run=_vectors_delete,
        needs=_needs_storage,
    ),
    Exercise(
        name="vectors_concurrent",
        summary="writers side by side, each with so many vectors",
        parameters={
            **_STORING,
            "writers": Parameter(
                kind=int, default=4, lowest=1, highest=256, meaning="how many writers"
            ),
        },
        run=_vectors_concurrent,
        needs=_needs_storage,
    ),
    Exercise(
        name="search",
        summary="a corpus of some arrangement, and queries to it",
        parameters={
            **_STORING,
            "queries": Parameter(
                kind=int, default=1, lowest=1, highest=100_000, meaning="how many queries"
            ),
            "ef": Parameter(
                kind=int,
                default=50,
                lowest=1,
                highest=10_000,
                meaning="width of the search: candidates that are kept",
            ),
            "k": Parameter(
                kind=int, default=5, lowest=1, highest=10_000, meaning="neighbours asked for"
            ),
            "shape": Parameter(
                kind=str,
                default=Shape.UNIFORM.value,
                choices=tuple(shape.value for shape in Shape),
                meaning="how the vectors lie",
            ),
        },
        run=_search,
        needs=_needs_search,
    ),
)
