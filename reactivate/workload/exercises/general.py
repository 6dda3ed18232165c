"""Exercises that every filesystem can do."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

from reactivate.workload.exercises.contract import (
    ERRNO_NAMES,
    Exercise,
    Outcome,
    Parameter,
    Progress,
    Values,
)
from reactivate.workload.exercises.parallel import in_parallel
from reactivate.workload.exercises.reading import number, texts
from reactivate.workload.mountpath import read_file
from reactivate.workload.operation import Operation
from reactivate.workload.posix import POSIX
from reactivate.workload.suites import SUITES

_COMPONENT_OF_SUITE = {
    "vector": "vector_storage",
    "search": "search_engine",
    "metadata": "metadata_manager",
    "cache": "cache_manager",
    "transaction": "transaction_manager",
}

_REPEATS = Parameter(
    kind=int, default=1, lowest=1, highest=100_000, meaning="how often each operation is done"
)


def repeat(folder: Path, operations: Iterable[Operation], repeats: int, progress: Progress) -> None:
    """Do each operation so many times, each in a folder of its own below this one.

    Raises:
        OSError: the first failure.
    """
    for operation in operations:
        own = folder / operation.name
        own.mkdir(parents=True, exist_ok=True)
        if operation.setup is not None:
            operation.setup(own)
        for repetition in range(repeats):
            operation.prepare(own, repetition)
            operation.run(own, repetition)
            operation.tidy(own, repetition)
            progress.did()


# -- initialise ----------------------------------------------------------------------------


def _initialise(mountpoint: Path, values: Values, progress: Progress) -> Outcome:
    os.statvfs(mountpoint)
    progress.did()
    os.listdir(mountpoint)  # noqa: PTH208
    progress.did()
    return progress.outcome()


# -- suite, endurance, clients -------------------------------------------------------------


def _suite_needs(values: Values) -> tuple[str, ...]:
    return _suites_need([str(values["suite"])])


def _suites_need(suites: Iterable[str]) -> tuple[str, ...]:
    return tuple(_COMPONENT_OF_SUITE[suite] for suite in suites if suite in _COMPONENT_OF_SUITE)


def _suite(mountpoint: Path, values: Values, progress: Progress) -> Outcome:
    name = str(values["suite"])
    repeat(mountpoint / f"suite-{name}", SUITES[name], number(values, "repeats"), progress)
    return progress.outcome()


def _endurance_needs(values: Values) -> tuple[str, ...]:
    suites = values["suites"]
    return _suites_need(suites) if isinstance(suites, tuple) else ()


def _endurance(mountpoint: Path, values: Values, progress: Progress) -> Outcome:
    for _ in range(number(values, "rounds")):
        for name in texts(values, "suites"):
            repeat(mountpoint / f"endurance-{name}", SUITES[name], 1, progress)
    return progress.outcome()


def _clients(mountpoint: Path, values: Values, progress: Progress) -> Outcome:
    rounds = number(values, "rounds")

    def one(client: int) -> None:
        repeat(mountpoint / f"client-{client}", POSIX, rounds, progress)

    in_parallel(one, number(values, "clients"))
    return progress.outcome()


# -- durable_writes ------------------------------------------------------------------------


def _content(seed: str, size_bytes: int) -> bytes:
    """Different bytes for every seed, the same in every run."""
    return hashlib.shake_128(seed.encode()).digest(size_bytes)


def _durable_writes(mountpoint: Path, values: Values, progress: Progress) -> Outcome:
    folder = mountpoint / "durable"
    folder.mkdir(exist_ok=True)
    for cycle in range(number(values, "rounds")):
        for file in range(number(values, "files")):
            content = _content(f"{cycle} {file}", number(values, "bytes"))
            _keep(mountpoint, folder / f"file-{file}", content, progress)
            progress.did()
    return progress.outcome()


def _keep(mountpoint: Path, path: Path, content: bytes, progress: Progress) -> None:
    """Write, wait for the acknowledgement, and put it on record."""
    name = str(path.relative_to(mountpoint))
    progress.begins(name)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    try:
        view = memoryview(content)
        while view:
            view = view[os.write(descriptor, view) :]
        os.fsync(descriptor)
    except BaseException:
        with contextlib.suppress(OSError):  # the error before it is the one to tell
            os.close(descriptor)
        raise
    os.close(descriptor)
    # An error at close takes the acknowledgement back: the caller was told.
    progress.acknowledged(name, hashlib.sha256(content).hexdigest())


def lost_files(mountpoint: Path, outcome: Outcome) -> int:
    """How many acknowledged files are gone or hold something else.

    Raises:
        OSError: the mount itself does not answer.
    """
    os.statvfs(mountpoint)
    lost = 0
    for name, sha256 in outcome.durable.items():
        try:
            content = read_file(mountpoint / name)
        except FileNotFoundError:
            lost += 1
            continue
        lost += hashlib.sha256(content).hexdigest() != sha256
    return lost


# -- errors --------------------------------------------------------------------------------


def _errors(mountpoint: Path, values: Values, progress: Progress) -> Outcome:
    """Write on although it fails; what succeeded must be there, and the mount must answer."""
    allowed = {getattr(errno, name) for name in texts(values, "allow")}
    size_bytes = number(values, "bytes")
    for file in range(number(values, "files")):
        content = _content(f"errors {file}", size_bytes)
        path = mountpoint / f"error-{file}"
        try:
            _keep(mountpoint, path, content, progress)
        except OSError as error:
            if error.errno is None or error.errno not in allowed:
                raise
            progress.refused(error.errno)
        else:
            if read_file(path) != content:
                raise OSError(None, f"{path.name} does not hold what was acknowledged")
            progress.did()
        os.statvfs(mountpoint)
    outcome = progress.outcome()
    if values["expected"] and not outcome.refused:
        names = ", ".join(texts(values, "allow"))
        raise OSError(None, f"none of {names} came: the fault did not reach the filesystem")
    return outcome


_SUITE_NAMES = tuple(SUITES)

GENERAL = (
    Exercise(
        name="initialise",
        summary="nothing but a mount that answers",
        parameters={},
        run=_initialise,
    ),
    Exercise(
        name="suite",
        summary="every operation of a suite, one after the other",
        parameters={
            "suite": Parameter(kind=str, default=None, choices=_SUITE_NAMES, meaning="which suite"),
            "repeats": _REPEATS,
        },
        run=_suite,
        needs=_suite_needs,
    ),
    Exercise(
        name="endurance",
        summary="suites in turn, round after round",
        parameters={
            "rounds": Parameter(
                kind=int, default=100, lowest=1, highest=1_000_000, meaning="how many rounds"
            ),
            "suites": Parameter(
                kind=tuple,
                default=("posix",),
                choices=_SUITE_NAMES,
                meaning="which suites, in this order in every round",
            ),
        },
        run=_endurance,
        needs=_endurance_needs,
    ),
    Exercise(
        name="clients",
        summary="callers side by side, each with the posix suite in a folder of its own",
        parameters={
            "clients": Parameter(
                kind=int, default=8, lowest=1, highest=256, meaning="how many callers"
            ),
            "rounds": Parameter(
                kind=int, default=1, lowest=1, highest=100_000, meaning="rounds of each caller"
            ),
        },
        run=_clients,
    ),
    Exercise(
        name="durable_writes",
        summary="files written with fsync; each must be there, as acknowledged, after a restart",
        parameters={
            "files": Parameter(
                kind=int, default=16, lowest=1, highest=100_000, meaning="how many files"
            ),
            "rounds": Parameter(
                kind=int, default=1, lowest=1, highest=100_000, meaning="how often each is written"
            ),
            "bytes": Parameter(
                kind=int, default=4096, lowest=1, highest=1 << 26, meaning="size of each file"
            ),
        },
        run=_durable_writes,
        verify=lost_files,
    ),
    Exercise(
        name="errors",
        summary="files written with fsync although some fail; what was acknowledged must be there",
        parameters={
            "files": Parameter(
                kind=int, default=64, lowest=1, highest=100_000, meaning="how many files"
            ),
            "bytes": Parameter(
                kind=int, default=4096, lowest=1, highest=1 << 26, meaning="size of each file"
            ),
            "allow": Parameter(
                kind=tuple,
                default=None,
                choices=ERRNO_NAMES,
                meaning="errors that may come, by name; any other fails the step",
            ),
            "expected": Parameter(
                kind=bool, default=True, meaning="whether at least one of them must come"
            ),
        },
        run=_errors,
        verify=lost_files,
    ),
)
