"""Frame sizes of compiled programs, against what the compiler itself says of them."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from frame_programs import FLAGS, Usage, c_library, compile_program, usage

from reactivate.elf.errors import BinaryError
from reactivate.elf.image import open_image
from reactivate.elf.symbols import printable
from reactivate.instrument.frames import (
    Change,
    Frame,
    FrameBound,
    FrameTable,
    compare_frames,
    read_frames,
)

SU_BASE_BYTES = 0
"""What gcc's own figure counts less than ours: nothing, both hold the return address."""
ALLOCA_ROUNDING_BYTES = 64
"""gcc adds to a frame with alloca what aligning the block may cost at run time."""


@pytest.fixture(scope="module", params=FLAGS, ids=str)
def built(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Path, dict[str, Usage]]]:
    folder = tmp_path_factory.mktemp("frames")
    yield compile_program(folder, request.param), usage(folder)


def whole(table: FrameTable) -> dict[str, Frame]:
    return {f.symbol: f for f in table.frames if not f.part}


def test_every_frame_is_what_the_compiler_says(built: tuple[Path, dict[str, Usage]]) -> None:
    library, said = built
    found = whole(read_frames(library))
    assert found.keys() == said.keys()
    for name, frame in found.items():
        size = said[name].size_bytes - SU_BASE_BYTES
        if name == "taken_fixed":  # always dynamic for gcc, though its size is a constant
            assert frame.size_bytes == size or frame.bound is FrameBound.DYNAMIC
            continue
        assert (frame.bound is FrameBound.DYNAMIC) == (said[name].kind == "dynamic"), name
        if frame.bound is FrameBound.DYNAMIC:
            assert 0 <= size - frame.size_bytes <= ALLOCA_ROUNDING_BYTES, (name, frame)
        elif frame.bound is FrameBound.UP_TO:
            assert frame.size_bytes - frame.slack_bytes <= size <= frame.size_bytes, name
            assert frame.slack_bytes in (48, 240)
        else:
            assert frame.bound is FrameBound.EXACT
            assert frame.size_bytes == size, (name, frame)
    assert found["mebibyte"].size_bytes > 1 << 20
    assert {n for n, f in found.items() if f.bound is FrameBound.UP_TO} == {
        "aligned",
        "aligned_far",
    }


@pytest.mark.parametrize("flags", [f for f in FLAGS if "-O0" not in f])
def test_an_alloca_of_constant_size_is_counted(flags: str, tmp_path: Path) -> None:
    frame = whole(read_frames(compile_program(tmp_path, flags)))["taken_fixed"]
    assert frame.size_bytes == usage(tmp_path)["taken_fixed"].size_bytes > 9000
    assert frame.bound is FrameBound.EXACT


def test_a_stripped_copy_has_the_same_frames(
    built: tuple[Path, dict[str, Usage]], tmp_path: Path
) -> None:
    library, _ = built
    copy = tmp_path / "stripped.so"
    options = ["--strip-all", "--keep-section=.debug_frame"]
    subprocess.run(["objcopy", *options, library, copy], check=True, timeout=60)
    before, after = read_frames(library), read_frames(copy)
    assert after.stripped and not before.stripped
    assert [(f.address, f.size_bytes, f.bound) for f in after.frames] == [
        (f.address, f.size_bytes, f.bound) for f in before.frames
    ]


def test_without_section_headers_the_program_headers_lead_to_the_frames(tmp_path: Path) -> None:
    library = compile_program(tmp_path, "-O2 -fno-omit-frame-pointer")
    raw = bytearray(library.read_bytes())
    struct.pack_into("<Q", raw, 0x28, 0)  # e_shoff
    struct.pack_into("<HH", raw, 0x3C, 0, 0)  # e_shnum, e_shstrndx
    bare = tmp_path / "bare.so"
    bare.write_bytes(raw)
    sizes = {(f.address, f.size_bytes) for f in read_frames(library).frames}
    table = read_frames(bare)
    assert sizes == {(f.address, f.size_bytes) for f in table.frames}
    assert all(f.name == f"bare.so+{f.address:#x}" for f in table.frames)


def test_compressed_debug_frames_are_read(tmp_path: Path) -> None:
    flags = "-O2 -g -fno-asynchronous-unwind-tables -fno-unwind-tables"
    library = compile_program(tmp_path, flags)
    copy = tmp_path / "compressed.so"
    subprocess.run(
        ["objcopy", "--compress-debug-sections=zlib", library, copy], check=True, timeout=60
    )
    with open_image(copy) as image:
        section = image.section(".debug_frame")
        assert section is not None and section.compressed
    assert [f.size_bytes for f in read_frames(copy).frames] == [
        f.size_bytes for f in read_frames(library).frames
    ]


def test_names_of_cpp_are_readable(tmp_path: Path) -> None:
    source = """
    extern "C" void sink(void *);
    namespace deep { template <typename T> struct Walk { void step(T); }; }
    template <typename T> void deep::Walk<T>::step(T) { T a[500]; sink(a); }
    template struct deep::Walk<long>;
    """
    library = compile_program(tmp_path, "-O2", source=source, tool="g++")
    (frame,) = read_frames(library).frames
    assert frame.symbol == "_ZN4deep4WalkIlE4stepEl"
    assert frame.name == "deep::Walk<long>::step(long)"
    assert frame.size_bytes == 4016 == next(iter(usage(tmp_path).values())).size_bytes


def test_without_a_demangler_names_stay_as_they_are_and_it_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = "void walk(int) { volatile char a[900]; a[1] = 0; }"
    library = compile_program(tmp_path, "-O0", source=source, tool="g++")
    monkeypatch.setenv("PATH", str(tmp_path))
    table = read_frames(library)
    assert [f.name for f in table.frames] == ["_Z4walki"]
    assert "c++filt is missing" in table.note


@pytest.mark.parametrize("mangling", ["legacy", "v0"])
def test_rust_frames_and_names(tmp_path: Path, mangling: str) -> None:
    compiler = shutil.which("rustc")
    if compiler is None:
        pytest.skip("rustc is not installed")
    (tmp_path / "lib.rs").write_text(
        "pub mod deep { #[inline(never)] pub fn walk(n: usize) -> u8 {\n"
        "  let mut a = [0u8; 262144]; a[n] = 1; std::hint::black_box(&mut a); a[n / 2] } }\n"
        '#[no_mangle] pub extern "C" fn enter(n: usize) -> u8 { deep::walk(n) }\n',
        encoding="utf-8",
    )
    options = ["-O", "--crate-type=cdylib", "-o", "lib.so", "-C", "debuginfo=0"]
    command = [compiler, *options, "-C", f"symbol-mangling-version={mangling}", "lib.rs"]
    if mangling == "legacy":
        command += ["-Z", "unstable-options"]
    # Legacy mangling is an unstable option where v0 is the default.
    environment = os.environ | {"RUSTC_BOOTSTRAP": "1"}
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, timeout=170, check=False,
        env=environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    largest = read_frames(tmp_path / "lib.so", top=1).frames[0]
    assert largest.symbol.startswith("_ZN" if mangling == "legacy" else "_R")
    assert largest.name == "lib::deep::walk"
    assert 262144 <= largest.size_bytes <= 262144 + 512
    assert largest.bound is FrameBound.EXACT


def test_top_and_over_choose_the_largest() -> None:
    everything = read_frames(c_library())
    top = read_frames(c_library(), top=7)
    assert top.frames == everything.frames[:7]
    assert top.over == top.functions == len(everything.frames)
    over = read_frames(c_library(), over_bytes=8192)
    assert over.frames == tuple(f for f in everything.frames if f.size_bytes >= 8192)
    assert 0 < len(over.frames) == over.over < over.functions


def test_linkage_stubs_are_no_functions() -> None:
    table = read_frames(c_library())
    with open_image(c_library()) as image:
        plt = image.section(".plt")
    assert plt is not None and table.left_out
    inside = range(plt.address, plt.address + plt.size_bytes)
    assert not [f for f in table.frames if f.address in inside]


def test_difference_between_builds(tmp_path: Path) -> None:
    def build(name: str, text: str) -> FrameTable:
        folder = tmp_path / name
        folder.mkdir()
        source = "void sink(void *);\n" + text
        return read_frames(compile_program(folder, "-O2", source=source))

    frame = "void {0}(void) {{ char b[{1}]; sink(b); }}\n".format
    before = build("a", frame("same", 64) + frame("grows", 100) + frame("less", 900)
                   + frame("gone", 50))  # fmt: skip
    after = build("b", frame("same", 64) + frame("grows", 400) + frame("less", 90)
                  + frame("fresh", 2000))  # fmt: skip
    difference = compare_frames(before, after)
    assert [(c.name, c.change) for c in difference.changes] == [
        ("fresh", Change.APPEARED),
        ("less", Change.SHRANK),
        ("grows", Change.GREW),
        ("gone", Change.WENT),
    ]
    assert difference.same == 1
    grown = [usage(tmp_path / build)["grows"].size_bytes for build in ("a", "b")]
    assert difference.changes[2].growth_bytes == grown[1] - grown[0] > 0
    same = compare_frames(after, after)
    assert same.changes == () and same.same == 4


def test_a_name_cannot_steer_the_terminal() -> None:
    assert printable(b"walk\x1b[2J\n\xff") == "walk\\x1b[2J\\x0a\\xff"
    assert printable("größe".encode()) == "größe"


def _patched(tmp_path: Path, changes: dict[int, bytes], cut: int | None = None) -> Path:
    raw = bytearray(c_library().read_bytes()[:cut])
    for at, data in changes.items():
        raw[at : at + len(data)] = data
    path = tmp_path / "patched.so"
    path.write_bytes(raw)
    return path


@pytest.mark.parametrize(
    ("changes", "cut", "words"),
    [
        ({0: b"#!/b"}, None, "is not an ELF file"),
        ({}, 0, "is not an ELF file"),
        ({}, 40, "truncated"),
        ({}, 200_000, "truncated"),
        ({4: b"\1", 18: b"\3\0"}, None, "x86 (32 bit)"),
        ({18: b"\xb7\0"}, None, "AArch64"),
        ({4: b"\1"}, None, "x32"),
        ({5: b"\2"}, None, "not for x86-64"),
        ({16: b"\1\0"}, None, "not linked"),
        ({16: b"\4\0"}, None, "core file"),
        ({40: b"\xff" * 8}, None, "truncated"),
        ({54: b"\1\0"}, None, "header entries"),
        ({56: b"\xff\xff"}, None, "tells no frame sizes"),
    ],
)
def test_what_cannot_be_read_is_said_plainly(
    tmp_path: Path, changes: dict[int, bytes], cut: int | None, words: str
) -> None:
    with pytest.raises(BinaryError) as caught:
        read_frames(_patched(tmp_path, changes, cut))
    assert words in f"{caught.value.what} {caught.value.why}"


def test_no_frame_information_is_an_error_with_its_cure(tmp_path: Path) -> None:
    library = compile_program(tmp_path, "-O2 -fno-asynchronous-unwind-tables -fno-unwind-tables")
    with pytest.raises(BinaryError) as caught:
        read_frames(library)
    assert "-fasynchronous-unwind-tables" in caught.value.hint


def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path / "fifo", tmp_path, tmp_path / "absent", Path("/dev/zero")):
        with pytest.raises(BinaryError):
            read_frames(path)
