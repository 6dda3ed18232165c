"""The negative control: programs whose stacks mean nothing are refused, damaged files are not."""

from __future__ import annotations

import io
import os
import platform
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from known_depth import running

from reactivate.errors import MachineError, MeasurementError, PrivilegeError, UsageError
from reactivate.evidence import Pid
from reactivate.instrument.runtime import is_go, require_native, require_native_file


@pytest.fixture(scope="module")
def c_program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A program that does nothing."""
    if shutil.which("cc") is None or shutil.which("objcopy") is None:
        pytest.skip("no C compiler, or no objcopy (Debian package build-essential)")
    folder = tmp_path_factory.mktemp("c")
    (folder / "nothing.c").write_text("int main(void) { return 0; }\n")
    subprocess.run(["cc", "-o", folder / "nothing", folder / "nothing.c"], check=True)
    return folder / "nothing"


def marked(program: Path, section: str) -> Path:
    """The same program with one of the sections that Go's linker writes."""
    content, out = program.with_name("content"), program.with_name(f"with{section}")
    content.write_bytes(b"x")
    subprocess.run(["objcopy", "--add-section", f"{section}={content}", program, out], check=True)
    return out


@pytest.mark.parametrize("section", [".note.go.buildid", ".gopclntab", ".go.buildinfo"])
def test_a_program_with_a_section_of_go_is_refused(c_program: Path, section: str) -> None:
    require_native_file(c_program)
    with pytest.raises(MeasurementError, match="is a Go program") as caught:
        require_native_file(marked(c_program, section))
    assert caught.value.exit_code == 5


def test_a_real_go_program_is_refused_even_without_its_section_table(tmp_path: Path) -> None:
    go = shutil.which("go")
    if go is None or shutil.which("strip") is None:
        pytest.skip("go, itself a Go program, or strip is not installed")
    program = tmp_path / "program"
    subprocess.run(["strip", "--strip-all", "-o", program, os.path.realpath(go)], check=True)
    with pytest.raises(MeasurementError, match="Go program"):
        require_native_file(program)
    data = bytearray(program.read_bytes())
    data[40:48], data[58:64] = bytes(8), bytes(6)  # e_shoff, e_shentsize, e_shnum, e_shstrndx
    assert is_go(io.BytesIO(bytes(data)))


def test_damaged_files_are_no_crash_and_no_go(c_program: Path) -> None:
    whole = c_program.read_bytes()
    generator = random.Random(7)
    for _ in range(400):
        data = bytearray(whole[: generator.randrange(len(whole))])
        for _ in range(generator.randrange(12)):
            if data:
                data[generator.randrange(min(len(data), 256))] = generator.randrange(256)
        assert not is_go(io.BytesIO(bytes(data)))


def test_other_processors_are_named(
    c_program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = bytearray(c_program.read_bytes())
    data[18] = 183
    (tmp_path / "arm").write_bytes(bytes(data))
    with pytest.raises(MachineError, match="program for AArch64"):
        require_native_file(tmp_path / "arm")
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    with pytest.raises(MachineError, match="cannot be measured on aarch64"):
        require_native_file(c_program)


def test_a_script_is_let_through_and_a_missing_file_is_not(tmp_path: Path) -> None:
    (tmp_path / "script").write_text("#!/bin/sh\n")
    require_native_file(tmp_path / "script")
    with pytest.raises(UsageError, match="cannot be read"):
        require_native_file(tmp_path / "nothing")


def test_processes_that_run_are_judged_by_their_file() -> None:
    with running("depth", "main") as program:
        require_native(program.pid)
    with pytest.raises(ProcessLookupError):
        require_native(Pid(2**22 - 3))


@pytest.mark.root
def test_another_users_process_is_refused_in_words(needs_root: None) -> None:
    with running("depth", "main") as program:
        os.seteuid(65534)
        try:
            with pytest.raises(PrivilegeError, match="may not be looked at"):
                require_native(program.pid)
        finally:
            os.seteuid(0)


_NOT_DUMPABLE = """
import ctypes, os, sys
os.setuid(65534)
ctypes.CDLL(None).prctl(4, 0, 0, 0, 0)
print("ready", flush=True)
sys.stdin.read()
"""


@pytest.mark.root
def test_ones_own_process_that_forbids_tracing_is_told_from_anothers(needs_root: None) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _NOT_DUMPABLE], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        os.seteuid(65534)
        try:
            with pytest.raises(PrivilegeError, match="may not be looked at") as caught:
                require_native(Pid(process.pid))
        finally:
            os.seteuid(0)
        assert process.stdin is not None
        process.stdin.close()
    assert "PR_SET_DUMPABLE" in caught.value.why
    assert caught.value.hint == "run as root"
