"""How much stack the two walks take, measured on real stacks in processes of their own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import vector_library as built

KIB = 1024
MIB = 1024 * KIB

# The main thread's stack mapping only ever grows: its size is a high-water mark of whole pages.
# The limit is set last, so that nothing but the search is held to it.
SEARCH = """
import resource, sys
from pathlib import Path
import vector_library as built
from model.library import Library
from model.search_engine import Query, SearchEngine
from model.vector_storage import VectorStorage

def stack_bytes():
    with open("/proc/self/status", encoding="ascii") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith("VmStk:")) * 1024

path, walk, count, ef, limit = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:])
library = Library(Path(path))
store = VectorStorage(library, {}, {})
engine = SearchEngine(library, {"implementation": walk}, {"vector_storage": store})
store.closed("a.vec", built.text(built.vectors(count, 128, seed=1)))
queries = built.vectors(5, 128, seed=2)
before = stack_bytes()
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
resource.setrlimit(resource.RLIMIT_STACK, (limit, resource.getrlimit(resource.RLIMIT_STACK)[1]))
for query in queries:
    answer = engine.answer(Query(vector=built.line(query), k=5, ef=ef))
    assert len(answer.splitlines()) == 5
print(before, stack_bytes())
"""


def search(
    walk: str, *, ef: int, limit_bytes: int, count: int = 1300
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", SEARCH, str(built.build()), walk]
        + [str(number) for number in (count, ef, limit_bytes)],
        env={**os.environ, "PYTHONPATH": built.SEARCH_PATH},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def stacks(run: subprocess.CompletedProcess[str]) -> tuple[int, int]:
    """Size of the stack before and after the searches."""
    assert run.returncode == 0, run.stderr
    before, after = run.stdout.split()
    return int(before), int(after)


def test_the_recursive_walk_takes_more_than_two_mebibytes_and_less_than_six() -> None:
    _, after = stacks(search("recursive", ef=2000, limit_bytes=8 * MIB))
    assert 2.2 * MIB < after < 6 * MIB


def test_its_depth_is_the_number_of_nodes() -> None:
    half = stacks(search("recursive", ef=2000, limit_bytes=8 * MIB, count=650))[1]
    whole = stacks(search("recursive", ef=2000, limit_bytes=8 * MIB, count=1300))[1]
    per_node = (whole - half) / 650
    assert 1.8 * KIB < per_node < 2.6 * KIB, "one frame of about 2 KiB per node"


def test_the_recursive_walk_dies_with_a_small_stack() -> None:
    assert search("recursive", ef=2000, limit_bytes=MIB).returncode == -signal.SIGSEGV


def test_a_narrow_recursive_search_stays_small() -> None:
    stacks(search("recursive", ef=50, limit_bytes=512 * KIB))
    before, after = stacks(search("recursive", ef=50, limit_bytes=8 * MIB))
    assert after - before < 300 * KIB


def test_the_iterative_walk_survives_with_a_small_stack() -> None:
    before, after = stacks(search("iterative", ef=2000, limit_bytes=256 * KIB))
    assert after - before < 64 * KIB


def test_storing_stays_far_below_one_mebibyte() -> None:
    """The bulk was stored and indexed before the first figure was taken."""
    before, _ = stacks(search("iterative", ef=1, limit_bytes=8 * MIB))
    assert before < 512 * KIB
