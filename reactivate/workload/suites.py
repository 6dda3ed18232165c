"""The suites that a checklist can name."""

from __future__ import annotations

from collections.abc import Iterable

from reactivate.workload.components import CACHE, METADATA, SEARCH, TRANSACTION, VECTOR
from reactivate.workload.operation import Operation
from reactivate.workload.posix import POSIX

SUITES: dict[str, tuple[Operation, ...]] = {
    "posix": POSIX,
    "vector": VECTOR,
    "search": SEARCH,
    "metadata": METADATA,
    "cache": CACHE,
    "transaction": TRANSACTION,
}
"""By name. `posix` works on every filesystem, the others need the component they exercise."""


def operations(suites: Iterable[str]) -> tuple[Operation, ...]:
    """The operations of several suites, in the order asked for, none of them twice.

    Raises:
        KeyError: there is no suite of that name.
    """
    wanted: dict[str, Operation] = {}
    for suite in suites:
        for operation in SUITES[suite]:
            wanted.setdefault(operation.name, operation)
    return tuple(wanted.values())
