from __future__ import annotations

import subprocess
from pathlib import Path

import vector_library as built

WRAPPED = ("malloc", "calloc", "realloc", "aligned_alloc", "strdup")
SOURCES = ("vector_storage", "vector_files", "vector_text", "search_engine", "hnsw", "hnsw_walk")
SANITIZERS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all")


def test_no_allocation_that_fails_loses_or_leaks_anything(tmp_path: Path) -> None:
    program = tmp_path / "vector_faults"
    sources = built.MODEL / "src"
    subprocess.run(
        ["cc", "-g", "-O1", "-Wall", "-Wextra", "-Werror", *SANITIZERS, f"-I{sources}"]
        + [f"-Wl,--wrap={name}" for name in WRAPPED]
        + [str(Path(__file__).with_name("vector_faults.c"))]
        + [str(sources / f"{name}.c") for name in SOURCES]
        + ["-lm", "-o", str(program)],
        check=True,
        timeout=120,
    )
    run = subprocess.run([str(program)], capture_output=True, text=True, timeout=120, check=False)
    assert run.returncode == 0, run.stderr
    assert int(run.stdout) > 40, "so many allocations were made to fail"
