"""Everything that takes bytes apart: real bytes to begin with, and how they are read.

`tests/fuzz/test_parsers.py` damages them at random, `tests/fuzz/guided.py` by coverage.
"""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import tarfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from pathlib import Path

from reactivate.campaign.packing import MANIFEST, SCHEMA
from reactivate.campaign.unpacking import unpack_into
from reactivate.checklist.language import CriterionError, parse_criterion
from reactivate.checklist.parse import load
from reactivate.documents import parse_json
from reactivate.elf.encoding import EncodingError
from reactivate.elf.image import open_image
from reactivate.elf.symbols import Symbols
from reactivate.elf.unwind import Rule, Unwinder, compute
from reactivate.instrument import alerts, memcheck, touch
from reactivate.instrument.frames import read_frames
from reactivate.instrument.frozen_stack import read_record
from reactivate.run.explain import read as read_explanation
from reactivate.run.kernel_trace import read_trace
from reactivate.target.config import load_target
from reactivate.target.settings import with_settings
from reactivate.tomlfile import TomlFile
from reactivate.workload.scenario import load_scenario
from tests.cli.workspaces import CHECKLIST
from tests.fuzz import documents, test_files, test_tools

COMPONENTS = ("vector_storage", "search_engine", "metadata_manager", "cache_manager",
              "transaction_manager", "all_components")  # fmt: skip
_ROOT = Path(__file__).resolve().parents[2]
_C = """
extern void sink(void *);
int deep(int n) { char room[4096]; sink(room); return n ? deep(n - 1) + room[n] : 0; }
int main(void) { int x[8]; sink(x); return deep(x[0]); }
"""


@dataclass(frozen=True, slots=True)
class Parser:
    """A reader of bytes.

    Attributes:
        real: bytes that it reads.
        read: reads bytes; the folder is its own, for a file.
        text: whether the real bytes are text.
    """

    real: tuple[bytes, ...] = field(repr=False)
    read: Callable[[bytes, Path], object]
    text: bool = True


def _file(name: str, read: Callable[[Path], object]) -> Callable[[bytes, Path], object]:
    def call(raw: bytes, folder: Path) -> object:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(raw)
        return read(path)

    return call


def _lines(read: Callable[[list[str]], object]) -> Callable[[bytes, Path], object]:
    return lambda raw, _: read(raw.decode("utf-8", "replace").splitlines(keepends=True))


def _criterion(raw: bytes, _: Path) -> object:
    try:
        return parse_criterion(raw.decode("utf-8", "surrogateescape"))
    except CriterionError as error:
        assert str(error)
        return None


def _json(raw: bytes, _: Path) -> object:
    try:
        found = parse_json(raw)
    except ValueError as error:
        assert str(error)
        return None
    # What was taken is JSON for every other program, too.
    return json.dumps(found, allow_nan=False).encode()


def _live(raw: bytes, _: Path) -> object:
    """As the live tracer reads: one line after the other, cut off anywhere."""
    reader, found = touch.TouchReader(), []
    for line in io.StringIO(raw.decode("utf-8", "replace")):
        if touched := reader.read(line):
            assert touched.address >= 0 and touched.tid >= 0
            found.append(touched)
    return found


def _elf(path: Path) -> object:
    with open_image(path) as image:
        table = Symbols(image)
        names = table.names(sorted(table.functions())[:200])
        assert all(name.isprintable() for name in names.values())
        with suppress(EncodingError):
            unwinder = Unwinder(image)
            for address in sorted(names)[:50]:
                for step in range(0, 64, 7):
                    if rule := unwinder.rule(address + step):
                        _computed(rule)
    return read_frames(path)


def _computed(rule: Rule) -> None:
    for expression in (rule.expression, *dict(rule.computed).values()):
        with suppress(EncodingError):
            compute(expression, [4096] * 17, lambda address: address, (8,))


def _target(path: Path) -> object:
    shutil.copy(_ROOT / "configs/model.toml", path.parents[1])
    return load_target(path)


def _unpacked(path: Path) -> object:
    folder = path.parent / "unpacked"
    shutil.rmtree(folder, ignore_errors=True)
    return unpack_into(path, folder)


def _set(path: Path) -> object:
    changes = {"a.b": 7, "a.c": "x"}
    return with_settings(path, changes)


def pack() -> bytes:
    """A small archive as `ledger pack` writes it, though of no campaign."""
    files = {"configs/a.toml": b"a = 1\n", "results/b/c.json": b"{}", "ledger.db": b"SQLite"}
    listed = [
        {"path": name, "size_bytes": len(raw), "sha256": sha256(raw).hexdigest()}
        for name, raw in files.items()
    ]
    files[MANIFEST] = json.dumps({"schema": SCHEMA, "events": 3, "files": listed}).encode()
    whole = io.BytesIO()
    with tarfile.open(fileobj=whole, mode="w") as archive:
        for name, raw in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(raw)
            archive.addfile(member, io.BytesIO(raw))
    return whole.getvalue()


def elf(folder: Path) -> bytes:
    """A small library with symbols and unwinding tables."""
    source, out = folder / "deep.c", folder / "deep.so"
    source.write_text(_C)
    subprocess.run(
        ["cc", "-O1", "-g0", "-shared", "-fPIC", "-o", str(out), str(source)],
        check=True,
        timeout=60,
    )
    return out.read_bytes()


def _texts(*texts: str) -> tuple[bytes, ...]:
    return tuple(text.encode() for text in texts)


def parsers(folder: Path) -> dict[str, Parser]:
    """All of them, by name; the folder is for what must be compiled."""
    chain, death = documents.CHAIN_TEXT, documents.DEATH
    known = set(COMPONENTS)
    targets = sorted((_ROOT / "configs/targets").glob("*.toml"))
    scenarios = sorted((_ROOT / "configs/scenarios").glob("*.toml"))
    lines = {name: Parser(_texts(real), _lines(read))
             for name, (real, read) in test_tools.LINES.items()}  # fmt: skip
    return {
        "criterion": Parser(_texts(*test_files.CRITERIA), _criterion),
        "checklist": Parser(
            _texts(CHECKLIST.replace("LIMIT", "stack.peak <= 25% of stack.limit")),
            _file("c.md", load),
        ),
        "toml": Parser(_texts(*(p.read_text() for p in targets[:2])), _file("x.toml", TomlFile)),
        "target": Parser(
            _texts(*(p.read_text() for p in targets)),
            _file("w/configs/targets/model.toml", _target),
        ),
        "scenario": Parser(
            _texts(*(p.read_text() for p in scenarios[:6])),
            _file("s.toml", partial(load_scenario, components=known)),
        ),
        "alerts": Parser(
            _texts((_ROOT / "configs/ebpf.toml").read_text()),
            _file("ebpf.toml", lambda path: alerts.load(path.parent)),
        ),
        "setting": Parser(_texts("# x\n[a]\nb = 1 # one\nc = 'y'\n"), _file("set.toml", _set)),
        "json": Parser(_texts(chain, death, "[1.5e3, null]"), _json),
        "call chain": Parser(
            _texts(chain),
            _file("deepest-read.json", lambda path: read_explanation(path.parent, path.name)),
        ),
        "death": Parser(_texts(death), _file("death.json", read_record)),
        "kernel trace": Parser(_texts(test_files.TRACE), _file("trace.txt", read_trace)),
        **lines,
        "live touches": Parser(_texts(test_tools.TOUCHES), _live),
        "memcheck": Parser(
            _texts(test_tools.MEMCHECK),
            _file("m.xml", lambda path: memcheck.parse_memcheck(path, Path("/a"))),
        ),
        "elf": Parser((elf(folder),), _file("damaged.so", _elf), text=False),
        "pack": Parser((pack(),), _file("p/x.tar", _unpacked), text=False),
    }
