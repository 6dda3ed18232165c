"""Looking at stacks that are in use: against programs of known depth, without touching them."""

from __future__ import annotations

import os
import subprocess

import pytest
from known_depth import running

from reactivate.errors import PrivilegeError
from reactivate.evidence import Pid
from reactivate.instrument.stackwatch import StackWatch
from reactivate.procfs import PAGE_BYTES, main_stack
from reactivate.run.watching import Level, StackLevel, StackView
from tests.waiting import until


def level_of(view: StackView, *, main: bool) -> StackLevel:
    """The thread's level, once it sleeps again: an answered program may still be running."""
    found: list[StackLevel] = []

    def asleep() -> bool:
        found[:] = [level for level in view.look().levels if level.main == main]
        return len(found) == 1 and found[0].now_bytes is not None

    until(asleep)
    return found[0]


@pytest.mark.parametrize("kind", ["main", "pthread"])
def test_depth_is_right_to_the_page_and_never_too_much(kind: str) -> None:
    main = kind == "main"
    with running("depth", kind) as program, StackView(program.pid) as view:
        program.ask("64")
        for size in (300_000, 1_000_000):
            _, lowest = (int(word, 16) for word in program.ask(str(size)))
            level = level_of(view, main=main)
            top = main_stack(program.pid).end if main else None
            if top is not None:
                assert 0 <= (top - lowest) - level.used_bytes < PAGE_BYTES
            assert size <= level.used_bytes < size + 16 * 1024
            assert level.level is Level.CALM


@pytest.mark.parametrize("kind", ["main", "pthread"])
def test_the_levels_are_shares_of_the_real_limit(kind: str) -> None:
    main = kind == "main"
    with running("depth", kind) as program, StackView(program.pid) as view:
        seen = []
        for share in (0.5, 0.8, 0.95):
            program.ask(str(int(share * level_of(view, main=main).limit_bytes)))
            seen.append(level_of(view, main=main).level)
    assert seen == [Level.CALM, Level.WARNING, Level.CRITICAL]


def test_paint_is_not_taken_for_use() -> None:
    with running("depth", "pthread") as program:
        program.ask("5000")
        with StackView(program.pid) as view:
            before = level_of(view, main=False).used_bytes
            with StackWatch(program.pid) as watch:
                watch.paint()
            after = level_of(view, main=False).used_bytes
    # Painting forgets what lay below the sleeping stack pointer, and claims nothing new.
    assert 0 < after <= before


def test_a_thread_that_runs_has_no_stack_pointer_to_show() -> None:
    spin = "import threading, sys\nt = threading.Thread(target=lambda: [0 for _ in iter(int, 1)])\n"
    spin += "t.daemon = True\nt.start()\nprint(t.native_id, flush=True)\nsys.stdin.read()"
    with subprocess.Popen(
        ["python3", "-c", spin], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        tid = int(process.stdout.readline())
        with StackView(Pid(process.pid)) as view:

            def running_now() -> bool:
                picture = view.look()
                known = [x for x in picture.levels if x.tid == tid and x.now_bytes is None]
                return bool(known) or tid in [t for t, _ in picture.unknown]

            until(running_now)
        process.kill()


def test_the_end_of_the_process_is_seen() -> None:
    with running("depth", "main") as program, StackView(program.pid) as view:
        view.look()
        program.process.kill()
        program.process.wait()
        with pytest.raises(ProcessLookupError):
            view.look()


@pytest.mark.root
def test_another_users_stacks_are_refused(needs_root: None) -> None:
    with running("depth", "main") as program:
        os.seteuid(65534)
        try:
            with pytest.raises(PrivilegeError, match="cannot be reached"), StackView(program.pid):
                pass
        finally:
            os.seteuid(0)
