"""The chain behind a death, of programs whose death and chain are known."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
from death_programs import Death, deaths, die

from reactivate.elf.image import open_image
from reactivate.gate.advice import Circumstances, Classification, OverflowClass, classify
from reactivate.instrument.autopsy import explain_death_now, unwind
from reactivate.instrument.chain import Chain, fold
from reactivate.instrument.death import DeathKind
from reactivate.instrument.frozen_stack import address_in_file, read_record, walk
from reactivate.run.death_facts import chain_facts

KIB = 1024
MIB = 1024 * KIB


def chain(death: Death) -> Chain:
    assert death.cause.chain is not None, death.cause.chain_missing
    return death.cause.chain


def names(death: Death) -> list[str]:
    return [frame.name for frame in chain(death).frames]


def judged(death: Death, around: Circumstances | None = None) -> Classification:
    facts = chain_facts(death.cause)
    assert facts is not None
    return classify(facts, around or Circumstances())


def whole(found: Chain) -> None:
    """Goes to the thread's start, and every byte belongs to somebody."""
    assert found.stopped == ""
    assert found.attributed_bytes >= 0.99 * found.total_bytes
    assert sum(frame.size_bytes for frame in found.frames) == found.total_bytes
    assert sum(row.size_bytes for row in fold(found)) == found.total_bytes


@pytest.mark.parametrize(("mode", "thread"), [("walk", "main"), ("walk_thread", "worker")])
def test_runaway_recursion_is_folded(mode: str, thread: str, tmp_path: Path) -> None:
    death = die(tmp_path, mode)
    assert death.cause.kind is DeathKind.OVERFLOW
    assert death.cause.thread == thread
    whole(chain(death))
    rows = fold(chain(death))
    assert len(rows) < 12
    ring = max(rows, key=lambda row: row.size_bytes)
    assert set(ring.functions) == {"walk", "visit"}
    assert ring.size_bytes > 0.95 * 480 * KIB
    assert ring.count > 1000
    assert names(death)[-1] == ("_start" if thread == "main" else "clone3")
    found = judged(death)
    assert found.kind is OverflowClass.RECURSION
    assert found.function == "walk"  # it has the larger frame of the two
    assert found.file.endswith("deaths.c")
    assert found.line > 0


def test_a_hundred_thousand_frames_are_all_counted(tmp_path: Path) -> None:
    death = die(tmp_path, "steps", limit_bytes=8 * MIB)
    found = chain(death)
    whole(found)
    steps = max(fold(found), key=lambda row: row.size_bytes)
    assert steps.functions == ("step",)
    assert steps.count > 80_000
    assert steps.count == sum(name == "step" for name in names(death))
    assert found.total_bytes > 0.99 * 8 * MIB
    # What is kept is small, whatever was counted.
    assert (tmp_path / "death.json").stat().st_size < 200 * KIB
    kept = json.loads((tmp_path / "death.json").read_text())["chain"]
    assert kept["frames"] == len(found.frames)
    assert sum(row["size_bytes"] for row in kept["folded"]) == kept["total_bytes"]


def test_a_large_frame(tmp_path: Path) -> None:
    death = die(tmp_path, "table", limit_bytes=2 * MIB)
    assert death.cause.kind is DeathKind.OVERFLOW
    whole(chain(death))
    assert chain(death).largest.function == "table"
    assert 3 * MIB <= chain(death).largest.size_bytes < 3 * MIB + 512
    found = judged(death)
    assert (found.kind, found.function) == (OverflowClass.LARGE_FRAME, "table")


def test_a_chain_of_constructors(tmp_path: Path) -> None:
    death = die(tmp_path, "chain", limit_bytes=MIB)
    whole(chain(death))
    order = ["prepare_levels", "prepare_links", "prepare_index", "prepare_storage"]
    assert names(death)[:4] == order
    start = judged(death, Circumstances(initialising=True))
    assert start.kind is OverflowClass.INITIALISATION_CHAIN
    assert "prepare_storage → prepare_index → prepare_links → prepare_levels" in start.evidence
    assert judged(death).kind is OverflowClass.LARGE_FRAME


def test_many_small_frames(tmp_path: Path) -> None:
    death = die(tmp_path, "many", limit_bytes=64 * KIB)
    whole(chain(death))
    assert judged(death).kind is OverflowClass.MANY_SMALL_FRAMES


@pytest.mark.parametrize(
    ("mode", "kind", "function", "words"),
    [
        ("null", DeathKind.SEGFAULT, "null_pointer", "a null pointer"),
        ("wild", DeathKind.SEGFAULT, "null_pointer", "an address that no process can have"),
        ("bus", DeathKind.BUS_ERROR, "behind_the_end", "behind which there is nothing"),
        ("abort", DeathKind.ABORT, "main", "SIGABRT"),
        ("assertion", DeathKind.ABORT, "holds", "the index is consistent"),
        ("illegal", DeathKind.ILLEGAL_INSTRUCTION, "main", "SIGILL"),
        ("divide", DeathKind.ARITHMETIC, "divide", "a division by zero"),
        ("file_size", DeathKind.FILE_SIZE, "too_large", "larger than its limit"),
    ],
)
def test_every_other_death_is_called_what_it_is(
    mode: str, kind: DeathKind, function: str, words: str, tmp_path: Path
) -> None:
    death = die(tmp_path, mode)
    assert death.cause.kind is kind
    # "integer division", in the words of siginfo(2)
    assert words.replace("a division", "division") in death.cause.text
    whole(chain(death))
    assert function in names(death)
    assert judged(death).kind is OverflowClass.UNCLEAR


def test_the_kernel_finds_no_room_for_a_signal(tmp_path: Path) -> None:
    death = die(tmp_path, "timer")
    assert death.cause.kind is DeathKind.OVERFLOW
    assert death.cause.kernel
    assert "the frame for SIGUSR1" in death.cause.text
    assert death.faults[-1].delivering == signal.SIGUSR1
    whole(chain(death))
    found = judged(death)
    assert (found.kind, found.function, found.kernel) == (
        OverflowClass.RECURSION, "down_to", True,
    )  # fmt: skip


def test_a_handler_without_a_stack_of_its_own_hides_nothing(tmp_path: Path) -> None:
    death = die(tmp_path, "handler")
    assert [fault.delivering for fault in death.faults] == [0, signal.SIGSEGV]
    assert death.cause.kind is DeathKind.OVERFLOW
    assert not death.cause.kernel
    assert death.cause.address == death.faults[0].address


def test_a_runtime_that_reports_and_aborts(tmp_path: Path) -> None:
    death = die(tmp_path, "alternate")
    assert death.returncode == -signal.SIGABRT
    assert death.cause.kind is DeathKind.OVERFLOW
    assert "and then aborted" in death.cause.text
    # The chain is that of the overflow, not that of the abort.
    assert {"walk", "visit"} <= set(names(death)[:2])
    kept = json.loads((tmp_path / "death.json").read_text())
    assert kept["signal"] == signal.SIGSEGV


def test_a_system_call_into_too_deep_a_buffer_is_an_exit(tmp_path: Path) -> None:
    death = die(tmp_path, "read")
    assert death.cause.kind is DeathKind.EXIT
    assert 'exited with status 3; its last words: "deaths: read: Bad address"' in death.cause.text


def test_a_kill_leaves_no_chain_and_says_so(tmp_path: Path) -> None:
    death = die(tmp_path, "kill")
    assert death.cause.kind is DeathKind.KILLED
    assert death.cause.chain is None
    assert death.cause.chain_missing
    assert not (tmp_path / "death.json").exists()


def test_a_full_or_missing_folder_costs_the_chain_not_the_death(tmp_path: Path) -> None:
    death = die(tmp_path, "walk", autopsy=tmp_path / "nowhere")
    assert death.cause.kind is DeathKind.OVERFLOW
    assert death.cause.chain is None
    assert "No such file" in death.cause.chain_missing


def test_a_stripped_program_is_told_by_module_and_offset(tmp_path: Path) -> None:
    if shutil.which("strip") is None:
        pytest.skip("strip is not installed (Debian package binutils)")
    program = tmp_path / "stripped"
    subprocess.run(["strip", "-o", program, deaths()], check=True, timeout=60)
    death = die(tmp_path, "walk", program=program)
    whole(chain(death))
    assert names(death)[0].startswith("stripped+0x")
    # Two functions in turn, each caught at one call: the ring is seen without their names.
    assert judged(death).kind is OverflowClass.RECURSION


def test_a_program_that_was_built_again_is_not_read(tmp_path: Path) -> None:
    program = tmp_path / "copy"
    shutil.copy(deaths(), program)
    death = die(tmp_path, "walk", program=program)
    whole(chain(death))
    program.write_bytes(program.read_bytes() + b"\0")
    again = explain_death_now(death.returncode, death.faults)
    assert again.chain is not None
    assert "has changed since the death" in again.chain.stopped


def test_a_damaged_core_is_refused_with_a_reason(tmp_path: Path) -> None:
    death = die(tmp_path, "walk")
    record = death.faults[-1].autopsy
    assert record is not None
    record.with_suffix(".core").write_bytes(b"\x7fELF" + bytes(100))
    again = explain_death_now(death.returncode, death.faults)
    assert again.kind is DeathKind.OVERFLOW
    assert again.chain is None
    assert "cannot be read" in again.chain_missing


def test_a_walk_that_gives_up_says_so(tmp_path: Path) -> None:
    record = die(tmp_path, "walk").faults[-1].autopsy
    assert record is not None
    found = unwind(record, most_frames=100)
    assert found.stopped == "stopped after 100 frames"
    assert found.attributed_ratio < 0.5


@pytest.mark.parametrize("mode", ["walk", "walk_thread", "assertion"])
def test_gdb_finds_the_same_frames(mode: str, tmp_path: Path) -> None:
    gdb = shutil.which("gdb")
    if gdb is None:
        pytest.skip("gdb is not installed (Debian package gdb)")
    path = die(tmp_path, mode, limit_bytes=96 * KIB).faults[-1].autopsy
    assert path is not None
    record = read_record(path)
    symbols = []
    for module in {m.path: m for m in record.mappings if "x" in m.permissions and m.inode}.values():
        with open_image(Path(module.path)) as image:
            bias = module.start - address_in_file(image, module, module.start)
        symbols += ["-ex", f"add-symbol-file {module.path} -o {bias:#x}"]
    script = tmp_path / "frames.py"
    script.write_text(
        "frame = gdb.newest_frame()\n"
        "while frame is not None:\n"
        "    if frame.type() not in (gdb.INLINE_FRAME, gdb.TAILCALL_FRAME):\n"
        "        print('frame', frame.pc(), int(frame.read_register('sp')) & (1 << 64) - 1)\n"
        "    frame = frame.older()\n"
    )
    told = subprocess.run(
        [gdb, "-nx", "-batch", "-iex", "set debuginfod enabled off", "-ex",
         "set backtrace past-main on", "-core", str(record.core), *symbols, "-x", str(script)],
        capture_output=True, text=True, check=True, timeout=60,
    ).stdout  # fmt: skip
    theirs = [
        (int(pc), int(sp))
        for word, pc, sp in (
            line.split() for line in told.splitlines() if line.startswith("frame ")
        )
        if word == "frame"
    ]
    walked = walk(record)
    ours = [
        (walked.codes[number].pc, sp)
        for number, sp in zip(walked.numbers, walked.pointers, strict=True)
    ]
    assert len(ours) > 5
    assert ours == theirs
