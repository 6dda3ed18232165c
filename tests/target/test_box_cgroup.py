"""Where groups are looked for, on trees laid out as the kernel lays them out."""

from __future__ import annotations

from pathlib import Path

import pytest

from reactivate.evidence import NotMeasured
from reactivate.target.box_cgroup import Groups, Places, find_places, oom_kills
from reactivate.target.model import Holder


def group(path: Path, *, gives: str = "", passes_on: str = "") -> Path:
    """A folder as a group of the second generation looks."""
    path.mkdir(parents=True, exist_ok=True)
    (path / "cgroup.procs").touch()
    (path / "cgroup.controllers").write_text(gives + "\n")
    (path / "cgroup.subtree_control").write_text(passes_on + "\n")
    return path


def proc(tmp_path: Path, own: str, mounts: str) -> Path:
    """A /proc/self with these two files."""
    folder = tmp_path / "self"
    folder.mkdir()
    (folder / "cgroup").write_text(own)
    (folder / "mountinfo").write_text(mounts)
    return folder


def unified(tree: Path, root: str = "/") -> str:
    return f"30 23 0:26 {root} {tree} rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"


class TestSecondGeneration:
    def test_a_group_that_passes_its_controllers_on(self, tmp_path: Path) -> None:
        tree = tmp_path / "cgroup"
        own = group(tree / "user", gives="cpu memory pids", passes_on="memory pids")
        places = find_places("x", proc=proc(tmp_path, "0::/user\n", unified(tree)))
        assert places.version is Holder.CGROUP_V2
        assert places.folders == (own / "reactivate-x",)
        assert places.memory == places.processes == places.tether == own / "reactivate-x"

    def test_one_with_processes_of_its_own_has_a_sister(self, tmp_path: Path) -> None:
        tree = tmp_path / "cgroup"
        above = group(tree / "slice", gives="memory pids", passes_on="memory pids")
        group(above / "shell.scope", gives="memory pids")
        places = find_places("x", proc=proc(tmp_path, "0::/slice/shell.scope\n", unified(tree)))
        assert places.folders == (above / "reactivate-x",)

    def test_a_container_sees_a_part_of_the_tree(self, tmp_path: Path) -> None:
        tree = tmp_path / "cgroup"
        own = group(tree / "in", gives="memory pids", passes_on="memory pids")
        files = proc(tmp_path, "0::/docker/abc/in\n", unified(tree, "/docker/abc"))
        assert find_places("x", proc=files).memory == own / "reactivate-x"

    def test_controllers_that_are_not_given_are_said_so(self, tmp_path: Path) -> None:
        tree = tmp_path / "cgroup"
        own = group(tree / "user", gives="cpu pids", passes_on="pids")
        places = find_places("x", proc=proc(tmp_path, "0::/user\n", unified(tree)))
        assert places.version is Holder.NONE
        assert places.memory is None
        assert places.why_no_memory == (
            f"the controller memory is not given to the control group {own}"
        )
        assert places.processes == own / "reactivate-x"

    def test_what_holds_processes_and_has_none_above_cannot(self, tmp_path: Path) -> None:
        tree = group(tmp_path / "cgroup", gives="memory pids")
        places = find_places("x", proc=proc(tmp_path, "0::/\n", unified(tree)))
        assert "holds processes and cannot pass on memory" in places.why_no_memory

    def test_its_limits_and_counts(self, tmp_path: Path) -> None:
        folder = tmp_path / "reactivate-x"
        folder.mkdir()
        places = Places(
            version=Holder.CGROUP_V2,
            memory=folder,
            processes=folder,
            tether=folder,
            why_no_memory="",
            why_no_processes="",
        )
        (folder / "memory.events").write_text("low 0\nhigh 0\nmax 31\noom 4\noom_kill 3\n")
        assert Groups(places).oom_kills() == 3
        assert isinstance(Groups(places).peak_bytes(), NotMeasured)  # before Linux 5.19
        (folder / "memory.peak").write_text("4096\n")
        assert Groups(places).peak_bytes() == 4096


class TestFirstGeneration:
    def test_controllers_in_trees_of_their_own(self, tmp_path: Path) -> None:
        memory, pids, second = tmp_path / "memory", tmp_path / "pids", tmp_path / "unified"
        for tree in (memory / "job", pids, second):
            group(tree)
        mounts = (
            f"35 31 0:32 / {memory} rw - cgroup cgroup rw,memory\n"
            f"39 31 0:36 / {pids} rw - cgroup cgroup rw,pids\n" + unified(second)
        )
        places = find_places("x", proc=proc(tmp_path, "8:pids:/\n4:memory:/job\n0::/\n", mounts))
        assert places.version is Holder.CGROUP_V1
        assert places.memory == memory / "job" / "reactivate-x"
        assert places.processes == pids / "reactivate-x"

    def test_killed_for_want_of_memory(self, tmp_path: Path) -> None:
        counts = tmp_path / "memory.oom_control"
        counts.write_text("oom_kill_disable 0\nunder_oom 0\noom_kill 2\n")
        assert oom_kills(tmp_path, Holder.CGROUP_V1) == 2
        counts.write_text("oom_kill_disable 0\nunder_oom 0\n")  # before Linux 4.13
        assert isinstance(oom_kills(tmp_path, Holder.CGROUP_V1), NotMeasured)


def test_no_groups_at_all(tmp_path: Path) -> None:
    places = find_places("x", proc=proc(tmp_path, "", ""))
    assert places.folders == ()
    assert places.version is Holder.NONE
    assert places.why_no_memory == "no control group of this machine has the controller memory"


def test_a_refused_group_leaves_none_behind(tmp_path: Path) -> None:
    places = Places(
        version=Holder.CGROUP_V1,
        memory=tmp_path / "reactivate-x",
        processes=tmp_path / "absent" / "reactivate-x",
        tether=None,
        why_no_memory="",
        why_no_processes="",
    )
    with pytest.raises(FileNotFoundError):
        Groups(places).make(memory_bytes=None, processes=None)
    assert list(tmp_path.iterdir()) == []
