from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import trio

from reactivate.errors import ExitCode
from reactivate.procfs import fuse_mount_at
from reactivate.run.target_check import TargetCheck, check_target
from reactivate.target.model import TargetSpec
from reactivate.workspace import Workspace
from tests.target.daemons import STUBBORN, run_late
from tests.target.fiveways import (
    WAYS,
    WITNESSES,
    checkout,
    needs_libfuse,
    target,
    text,
    written,
)
from tests.waiting import PATIENCE_SECONDS

pytestmark = [pytest.mark.fuse, pytest.mark.usefixtures("needs_fuse")]

DIFFERS = {
    "arguments": ("command",),
    "environment": ("environment",),
    "build": ("artifact",),
    "configuration": ("settings",),
    "patch": ("artifact",),
}


def checked(
    spec: TargetSpec, root: Path, *, late: Callable[[], object] | None = None
) -> TargetCheck:
    """What the check finds; `late`: what must have happened before any time is over."""

    async def main() -> TargetCheck:
        return await check_target(spec, Workspace(root), lambda _: None)

    return trio.run(main) if late is None else run_late(main, late)


@pytest.mark.parametrize("way", WAYS)
def test_every_way_is_proven_in_both_directions(tmp_path: Path, way: str) -> None:
    needs_libfuse()
    names = ("vector_storage", "search_engine")
    source = checkout(tmp_path / "Quelle mit Lücken")
    root = tmp_path / "workspace"
    found = checked(target(root, way, source, names=names), root)
    assert found.problem is None, (found.problem.what, found.problem.why)
    for each in found.components:
        assert each.problem is None, (each.problem.what, each.problem.why)
        assert each.ways == (way,)
        assert each.differs == DIFFERS[way]
        suffix, _, expect = WITNESSES[each.id]
        assert each.witness == f"w.{suffix} read {expect!r}"
    assert [c.id for c in found.components] == list(names)
    assert found.exit_code is ExitCode.DONE
    assert found.life is not None
    assert found.life.threads == 1
    assert found.life.problem is None


MIRROR = """\
title = "mirror"
artifact = "bindfs"
[run]
command = {command}
mount_timeout_seconds = {mount_seconds}
stop_timeout_seconds = {stop_seconds}
{more}
"""
MOUNTS = '["bindfs", "-f", "{backing}", "{mountpoint}"]'


def needs_bindfs() -> None:
    if shutil.which("bindfs") is None:
        pytest.skip("bindfs is not installed (Debian package bindfs)")


def mirror(
    root: Path,
    *,
    command: str = MOUNTS,
    more: str = "",
    mount_seconds: float = PATIENCE_SECONDS,
    stop_seconds: float = PATIENCE_SECONDS,
    late: Callable[[], object] | None = None,
) -> TargetCheck:
    needs_bindfs()
    text = MIRROR.format(
        command=command, more=more, mount_seconds=mount_seconds, stop_seconds=stop_seconds
    )
    return checked(written(root, text), root, late=late)


def component(name: str, number: int, witness: str) -> str:
    return f'[[component]]\nid = "{name}"\narguments = ["-o", "fsname=n{number}"]\n{witness}\n'


ALWAYS = 'witness_operation = { write = "b", content = "x\\n\\n", expect = "x" }'
OFTEN = 'witness_operation = { write = "a", content = "x", read = "./a", expect = "x" }'
NEVER = 'witness_operation = { read = "nothing", expect = "x" }'


def test_a_plain_daemon_has_nothing_to_switch(tmp_path: Path) -> None:
    found = mirror(tmp_path)
    assert (found.exit_code, found.components) == (ExitCode.DONE, ())
    assert found.life is not None


def test_a_witness_that_also_answers_when_off(tmp_path: Path) -> None:
    found = mirror(tmp_path, more=component("one", 1, OFTEN))
    (one,) = found.components
    assert found.exit_code is ExitCode.INCONCLUSIVE
    assert one.problem is not None
    assert "also answers when one is off" in one.problem.what


def test_a_silent_witness_and_a_component_that_comes_twice(tmp_path: Path) -> None:
    found = mirror(tmp_path, more=component("one", 1, NEVER) + component("two", 1, NEVER))
    one, two = found.components
    assert found.exit_code is ExitCode.INCONCLUSIVE
    assert one.problem is not None
    assert "does not answer" in one.problem.what
    assert (one.same_as, two.same_as) == ("", "one")


def test_a_switch_that_switches_nothing(tmp_path: Path) -> None:
    found = mirror(tmp_path, more=f'[[component]]\nid = "one"\n{NEVER}')
    assert found.exit_code is ExitCode.INCONCLUSIVE
    problem = found.components[0].problem
    assert problem is not None
    assert problem.what == "Switching on one changed nothing"


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ('["bindfs", "{backing}", "{mountpoint}"]', "went into the background"),
        ('["sh", "-c", "sleep 1000", "{mountpoint}"]', "did not mount within 1 s"),
        ('["false", "{mountpoint}"]', "exited with status 1 before it was mounted"),
    ],
)
def test_a_daemon_that_does_not_do_as_it_should(tmp_path: Path, command: str, words: str) -> None:
    # Only what never mounts is not waited for.
    hangs = "sleep 1000" in command
    found = mirror(tmp_path, command=command, mount_seconds=1 if hangs else PATIENCE_SECONDS)
    assert found.exit_code is ExitCode.ENVIRONMENT
    assert found.problem is not None
    assert words in found.problem.what


def test_a_daemon_that_mounts_elsewhere(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    script = f"exec bindfs -f $1 {elsewhere}"
    try:
        found = mirror(
            tmp_path,
            command=f'["sh", "-c", "{script}", "sh", "{{backing}}", "{{mountpoint}}"]',
            mount_seconds=1,
            late=lambda: fuse_mount_at(elsewhere) is not None,
        )
    finally:
        subprocess.run(["fusermount3", "-uzq", str(elsewhere)], check=False)
    assert found.problem is not None
    told, _, asked = found.problem.why.partition("\n")[0].partition("; ")
    named = told.removeprefix("mounted meanwhile: ").split(", ")  # other tests mount, too
    assert str(elsewhere) in named and asked == "by the daemon?"
    one = str(elsewhere) if named == [str(elsewhere)] else "DIR"
    assert found.problem.hint.startswith(f"fusermount3 -u {one}, ")


# GETATTR of a folder, OPENDIR, READDIR and RELEASEDIR: an empty folder.
LISTS = """\
    elif opcode in (3, 27, 28, 29, 44):
        attributes = struct.pack("=QII6Q3I7I", 0, 0, 0, 1, *[0] * 8, 0o40755, 2, *[0] * 5)
        body = {3: attributes, 27: bytes(16)}.get(opcode, b"")
        os.write(fd, struct.pack("=IiQ", 16 + len(body), 0, unique) + body)
"""


@pytest.mark.root
@pytest.mark.usefixtures("needs_root")
@pytest.mark.parametrize("lists", [True, False])
def test_a_daemon_that_does_not_end_or_does_not_answer(tmp_path: Path, lists: bool) -> None:
    source = tmp_path / "stubborn.py"
    text = STUBBORN
    if lists:
        text = text.replace("    elif opcode not in", f"{LISTS}    elif opcode not in")
    source.write_text(text)
    found = mirror(
        tmp_path,
        command=f'["{sys.executable}", "{source}", "{{mountpoint}}"]',
        stop_seconds=1,
    )
    assert found.exit_code is ExitCode.ENVIRONMENT
    if lists:
        assert found.life is not None
        assert found.life.problem is not None
        assert "did not end when it was unmounted" in found.life.problem.what
    else:
        assert found.problem is not None
        assert "ENOSYS" in found.problem.what


@pytest.mark.root
@pytest.mark.usefixtures("needs_root")
def test_calls_of_a_function_are_a_witness(tmp_path: Path) -> None:
    needs_libfuse()
    source = checkout(tmp_path / "source")
    root = tmp_path / "workspace"
    content = text("build", source, names=("vector_storage",))
    operation = next(line for line in content.splitlines() if line.startswith("witness_op"))

    def with_symbol(name: str) -> TargetCheck:
        line = f'witness_symbol = "{name}"'
        return checked(written(root, content.replace(operation, line)), root)

    # Called with every component and with none: it proves nothing.
    (always,) = with_symbol("do_getattr").components
    assert always.problem is not None
    assert "also answers" in always.problem.what
    (absent,) = with_symbol("no_such_function").components
    assert absent.problem is not None
    assert "has no function no_such_function" in absent.problem.what


@pytest.mark.root
@pytest.mark.usefixtures("needs_root")
def test_a_function_that_only_the_component_calls(tmp_path: Path) -> None:
    needs_libfuse()
    source = checkout(tmp_path / "source")
    shell = source / "fiveways.c"
    # Every file is the component's, so that the suite's own operations call it.
    shell.write_text(shell.read_text().replace('"vector_storage", ".sum"', '"vector_storage", ""'))
    root = tmp_path / "workspace"
    content = text("arguments", source, names=("vector_storage",))
    operation = next(line for line in content.splitlines() if line.startswith("witness_op"))
    line = 'witness_symbol = "vector_storage_answer"'
    found = checked(written(root, content.replace(operation, line)), root)
    (one,) = found.components
    assert one.problem is None, (one.problem.what, one.problem.why)
    assert one.witness.startswith("vector_storage_answer was called ")
    assert found.build is not None
    assert found.build.commit.endswith("+")
