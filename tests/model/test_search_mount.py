"""Vectors and search through a real mount."""

from __future__ import annotations

import errno
import math
from collections.abc import Callable
from pathlib import Path

import pytest
import vector_library as built
from mounting import CONFIG, mounted

pytestmark = [pytest.mark.fuse, pytest.mark.usefixtures("needs_fuse")]

WALKS = ("recursive", "iterative")
COMPONENTS = ("vector_storage", "search_engine")


def configuration(folder: Path, walk: str) -> Path:
    """The shipped configuration with another walk."""
    shipped = CONFIG.read_text(encoding="utf-8")
    assert 'implementation = "recursive"' in shipped
    path = folder / "model.toml"
    path.write_text(shipped.replace('"recursive"', f'"{walk}"', 1), encoding="utf-8")
    return path


def error_of(action: Callable[[], object]) -> str:
    with pytest.raises(OSError) as caught:
        action()
    return errno.errorcode[caught.value.errno or 0]


def main_stack_bytes(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmStk:")) * 1024


def test_the_language_of_the_mount(tmp_path: Path) -> None:
    with mounted(tmp_path, *COMPONENTS) as mount:
        root = mount.path
        vectors = built.vectors(50, 128, seed=1)
        (root / "bulk.vec").write_bytes(built.text(vectors[:40]))
        (root / "folder").mkdir()
        for n, vector in enumerate(vectors[40:]):
            (root / "folder" / f"{n}.vec").write_bytes(built.line(vector))
        assert mount.stats()["vectors"] == "50"
        assert mount.stats()["index_nodes"] == "50"

        names = [f"bulk.vec:{n + 1}" for n in range(40)]
        names += [f"folder/{n}.vec:1" for n in range(10)]
        wanted = built.vectors(1, 128, seed=2)[0]
        order = sorted(range(50), key=lambda n: math.dist(vectors[n], wanted))
        query = root / "q.search"
        query.write_bytes(b"vector: " + built.line(wanted) + b"\nk: 7\nef: 200\n")
        answer = built.neighbours(query.read_bytes())
        assert [name for name, _ in answer] == [names[n] for n in order[:7]]
        for (_, distance), n in zip(answer, order, strict=False):
            assert distance == pytest.approx(math.dist(vectors[n], wanted) ** 2, rel=1e-5)

        (root / "_vexfs" / "search").write_bytes(built.line(wanted))
        assert built.neighbours((root / "_vexfs" / "search").read_bytes()) == answer[:5]

        (root / "folder").rename(root / "moved")
        (root / "bulk.vec").unlink()
        (root / "_vexfs" / "search").write_bytes(built.line(wanted) + b"\n")
        left = [f"moved/{n - 40}.vec:1" for n in order if n >= 40]
        found = built.neighbours((root / "_vexfs" / "search").read_bytes())
        assert [name for name, _ in found] == left[:5]
        assert mount.stats()["searches"] == "3"


def test_wrong_texts_are_refused_at_close(tmp_path: Path) -> None:
    with mounted(tmp_path, *COMPONENTS) as mount:
        root = mount.path
        (root / "a.vec").write_bytes(built.text(built.vectors(2, 128, seed=1)))
        assert error_of(lambda: (root / "b.vec").write_bytes(b"1,2,3\n")) == "EINVAL"
        assert error_of(lambda: (root / "a.vec").write_bytes(b"garbage")) == "EINVAL"
        assert error_of(lambda: (root / "q.search").write_bytes(b"k: 5\n")) == "EINVAL"
        assert error_of(lambda: (root / "_vexfs" / "search").write_bytes(b"1,2")) == "EINVAL"
        assert error_of(lambda: (root / "_vexfs" / "control").write_bytes(b"ef=0\n")) == "EINVAL"
        assert mount.stats()["vectors"] == "2"
        # A plain file becomes vectors by its name, or keeps its name.
        (root / "c.tmp").write_bytes(built.line(built.vectors(1, 128, seed=2)[0]))
        (root / "c.tmp").rename(root / "c.vec")
        assert mount.stats()["vectors"] == "3"
        (root / "d.tmp").write_bytes(b"no numbers")
        assert error_of(lambda: (root / "d.tmp").rename(root / "d.vec")) == "EINVAL"
        assert mount.stats()["vectors"] == "3"


def test_both_walks_answer_alike_and_only_one_is_deep(tmp_path: Path) -> None:
    """The case the gates must see: a wide search over 1,300 vectors, on the main thread."""
    query = b"vector: " + built.line(built.vectors(1, 128, seed=2)[0]) + b"\nk: 5\nef: 2000\n"
    content = built.text(built.vectors(1300, 128, seed=1))
    answers, depths = [], []
    for walk in WALKS:
        folder = tmp_path / walk
        folder.mkdir()
        with mounted(folder, *COMPONENTS, config=configuration(folder, walk)) as mount:
            (mount.path / "bulk.vec").write_bytes(content)
            (mount.path / "_vexfs" / "control").write_bytes(b"ef=100\n")
            assert "ef=100" in (mount.path / "_vexfs" / "control").read_text().split()
            (mount.path / "q.search").write_bytes(query)
            answers.append((mount.path / "q.search").read_bytes())
            depths.append(main_stack_bytes(mount.process.pid))
            assert mount.stats()["search_implementation"] == walk
    assert len(answers[0].splitlines()) == 5
    assert answers[0] == answers[1]
    recursive, iterative = depths
    assert 2.2 * 2**20 < recursive < 6 * 2**20
    assert iterative < 1 * 2**20
