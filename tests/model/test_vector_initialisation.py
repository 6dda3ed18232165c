"""The planted constructor: what it costs in stack, where it dies, and that it stores the same."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest
import vector_library as built
from model.library import ConfigurationFault
from model.vector_storage import VectorStorage

KIB = 1024
MIB = 1024 * KIB

# The limit is set last, so that nothing but the constructor is held to it.
CONSTRUCT = """
import resource, sys
from pathlib import Path
from model.library import Library
from model.vector_storage import VectorStorage

def stack_bytes():
    with open("/proc/self/status", encoding="ascii") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith("VmStk:")) * 1024

library = Library(Path(sys.argv[1]))
before = stack_bytes()
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
limit = int(sys.argv[3])
resource.setrlimit(resource.RLIMIT_STACK, (limit, resource.getrlimit(resource.RLIMIT_STACK)[1]))
store = VectorStorage(library, {"initialisation": sys.argv[2]}, {})
print(before, stack_bytes())
"""


def construct(initialisation: str, limit_bytes: int) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", CONSTRUCT, str(built.build()), initialisation, str(limit_bytes)],
        env={**os.environ, "PYTHONPATH": built.SEARCH_PATH},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_on_the_stack_it_needs_between_two_and_a_half_and_three_mebibytes() -> None:
    result = construct("stack", 8 * MIB)
    assert result.returncode == 0, result.stderr
    before, after = map(int, result.stdout.split())
    assert before < 512 * KIB
    assert 2.5 * MIB < after - before < 3 * MIB


def test_on_two_mebibytes_it_dies_on_the_stack_and_lives_on_the_heap() -> None:
    assert construct("stack", 2 * MIB).returncode == -signal.SIGSEGV
    result = construct("heap", 2 * MIB)
    assert result.returncode == 0, result.stderr
    before, after = map(int, result.stdout.split())
    assert after - before < 64 * KIB


@pytest.mark.parametrize("dimensions", [1, 16, 17, 128, 4096])
def test_both_store_the_same_vectors_under_the_same_ids(dimensions: int) -> None:
    # More than the prepared room of 4,096 dimensions, so that it grows after that, too.
    text = built.text(built.vectors(70, dimensions, seed=3))
    found = []
    for initialisation in ("heap", "stack"):
        settings = {"dimensions": dimensions, "initialisation": initialisation}
        store = VectorStorage(built.library(), settings, {})
        engine = built.engine(store)
        store.closed("a.vec", text)
        store.removed("a.vec")
        store.closed("b.vec", text)
        query = b"vector: " + text.splitlines()[5] + b"\nk: 70\nef: 100\n"
        engine.virtual_write("search", query)
        found.append((store.stats(), engine.virtual("search")))
        engine.close()
        store.close()
    assert found[0] == found[1]
    assert found[0][0]["vectors"] == "70"


def test_another_place_is_refused() -> None:
    with pytest.raises(ConfigurationFault, match="initialisation is 'pile', expected \"heap\" or"):
        VectorStorage(built.library(), {"initialisation": "pile"}, {})
