"""The stack of a dead thread, from its core file: walked frame by frame with the binaries' tables.

A runaway recursion has a hundred thousand frames and a handful of code addresses, so a rule is
looked up once for each address and then applied, some million times a second; a debugger thinks
afresh at every frame and takes half a minute. Where the tables end, in code without unwind
information, the walk ends too and says so; nothing is guessed.
"""

from __future__ import annotations

import mmap
import struct
from array import array
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from reactivate.documents import flag, read_json, shown, text, whole
from reactivate.elf.encoding import EncodingError
from reactivate.elf.errors import BinaryError
from reactivate.elf.image import Image, open_image
from reactivate.elf.unwind import RIP, RSP, Rule, Unwinder, compute
from reactivate.errors import MeasurementError
from reactivate.evidence import Address, Tid
from reactivate.procfs import MemoryMapping, mapping_containing
from reactivate.target.snapshot import FORMAT

MOST_FRAMES = 1_000_000
"""Where a walk gives up: a stack of 8 MiB cannot hold so many."""

_X86_64 = 62
_FROM_KERNEL = (10, 12, 11, 5, 13, 14, 4, 19, 9, 8, 7, 6, 3, 2, 1, 0, 16)
"""Where user_regs_struct has what DWARF numbers 0 to 16."""
_REGISTERS_AT = 112
_HEADER_BYTES = 64
_SEGMENT = struct.Struct("<IIQQQQQQ")
_WORD = struct.Struct("<Q")


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """`death.json` as the tracer wrote it.

    Attributes:
        core: the core file beside it.
        tid: the thread.
        thread_name: its name.
        main: whether it was the main thread.
        signal: number of the signal.
        address: the fault address, None if there is none.
        stack_pointer: of the thread.
        thread_start: where the kernel put the main thread's first frame; 0 for other threads.
        stack_end: one past the highest address of its stack.
        copied_start: lowest address in the core file.
        copied_end: one past the highest.
        mappings: of the process; only those with a name.
        files: path → size and time of change in nanoseconds, at the death.
    """

    core: Path
    tid: Tid
    thread_name: str
    main: bool
    signal: int
    address: Address | None
    stack_pointer: Address
    thread_start: Address
    stack_end: Address
    copied_start: Address
    copied_end: Address
    mappings: tuple[MemoryMapping, ...]
    files: dict[str, tuple[int, int]]


@dataclass(slots=True, kw_only=True)
class Code:
    """A code address that is on the stack.

    Attributes:
        pc: where the thread was, or where it would have returned to.
        lookup: the address to look up: within the calling instruction for a return address.
        path: the mapped file, "" for code outside of files.
        offset: in the file's own addresses; equals pc outside of files.
        function: address of its function in the file's own addresses, None if unknown.
    """

    pc: int
    lookup: int
    path: str
    offset: int
    function: int | None


@dataclass(slots=True, kw_only=True)
class Walk:
    """The frames of a stack, innermost first.

    Attributes:
        codes: each code address once.
        numbers: of each frame, its place in `codes`.
        pointers: of each frame, its stack pointer.
        stopped: why the walk ended before the thread's start, "" if it did not.
    """

    codes: list[Code] = field(default_factory=list)
    numbers: array[int] = field(default_factory=lambda: array("I"))
    pointers: array[int] = field(default_factory=lambda: array("Q"))
    stopped: str = ""


def read_record(path: Path) -> Record:
    """Read what a tracer left behind.

    Raises:
        MeasurementError: it is not there, or not whole.
    """
    try:
        data: dict[str, Any] = read_json(path, name=path.name)
        if data["format"] != FORMAT:
            raise ValueError(f"format {data['format']}, not {FORMAT}")
        return Record(
            core=path.with_name(Path(data["core"]).name),
            tid=Tid(whole(data, "tid")),
            thread_name=text(data, "thread_name"),
            main=flag(data, "main"),
            signal=whole(data, "signal"),
            address=None if data["address"] is None else Address(whole(data, "address")),
            stack_pointer=Address(whole(data, "stack_pointer")),
            thread_start=Address(whole(data, "thread_start")),
            stack_end=Address(whole(data, "stack_end")),
            copied_start=Address(whole(data, "copied_start")),
            copied_end=Address(whole(data, "copied_end")),
            mappings=tuple(_mapping(row) for row in data["mappings"]),
            files={name: _file(row) for name, row in data["files"].items()},
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise MeasurementError(
            "the record of a death cannot be read", why=f"{path.name}: {error}"
        ) from error


def _typed(row: Any, *kinds: type) -> tuple[Any, ...]:
    """A row of the record; true is no number."""
    if [type(value) for value in row] != [*kinds]:
        raise ValueError(f"{shown(row)} is none of its rows")
    return tuple(row)


def _file(row: Any) -> tuple[int, int]:
    size, changed = _typed(row, int, int)
    return size, changed


def _mapping(row: Any) -> MemoryMapping:
    start, end, permissions, offset, inode, path = _typed(row, int, int, str, int, int, str)
    return MemoryMapping(
        start=Address(start), end=Address(end), permissions=permissions,
        offset=offset, inode=inode, path=path,
    )  # fmt: skip


def walk(record: Record, *, most_frames: int = MOST_FRAMES) -> Walk:
    """Walk the stack in the core file.

    Raises:
        MeasurementError: the core file is not there, or not for this processor.
    """
    try:
        with record.core.open("rb") as file, _Walker(record, file.fileno()) as walker:
            return walker.walk(most_frames)
    except (OSError, ValueError, struct.error) as error:
        raise MeasurementError(
            "the stack of a death cannot be read", why=f"{record.core.name}: {error}"
        ) from error


class _Walker:
    """One walk: the stack's bytes, and the binaries that were looked at."""

    def __init__(self, record: Record, descriptor: int) -> None:
        self._record = record
        self._opened = ExitStack()
        data = mmap.mmap(descriptor, 0, prot=mmap.PROT_READ)
        self._opened.callback(data.close)
        machine = int.from_bytes(data[18:20], "little")
        if machine != _X86_64:
            raise ValueError("only x86-64 stacks are walked by table")
        notes = _SEGMENT.unpack_from(data, _HEADER_BYTES)
        loaded = _SEGMENT.unpack_from(data, _HEADER_BYTES + _SEGMENT.size)
        self._data, self._shift = data, loaded[2] - loaded[3]
        self._low, self._high = loaded[3], loaded[3] + loaded[5]
        kernel = struct.unpack_from("<27Q", data, notes[2] + 20 + _REGISTERS_AT)
        self.registers = [kernel[place] for place in _FROM_KERNEL]
        self._tables: dict[str, tuple[Image, Unwinder] | str] = {}

    def __enter__(self) -> _Walker:
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()

    def walk(self, most_frames: int) -> Walk:
        found, registers = Walk(), self.registers
        numbers: dict[tuple[int, bool], int] = {}
        # The innermost frame is at its address; its callers are one instruction further.
        called = False
        rules: list[Rule | None] = []
        while len(found.numbers) < most_frames:
            key = registers[RIP], called
            number = numbers.get(key)
            if number is None:
                code, rule, why = self._code(registers[RIP], called)
                number = numbers[key] = len(rules)
                found.codes.append(code)
                rules.append(rule)
                if rule is None:
                    found.stopped = why
            found.numbers.append(number)
            found.pointers.append(registers[RSP])
            rule = rules[number]
            if rule is None or rule.outermost:
                return found
            try:
                self._step(rule)
            except (LookupError, EncodingError) as error:
                found.stopped = str(error.args[0])
                return found
            if registers[RIP] == 0:
                return found
            called = not rule.signal
        found.stopped = f"stopped after {most_frames:,} frames"
        return found

    def _step(self, rule: Rule) -> None:
        """Make the registers those of the caller."""
        registers = self.registers
        if rule.expression:
            frame = compute(rule.expression, registers, self._word)
        else:
            frame = registers[rule.register] + rule.offset
        # A function that keeps its return address in a register may have no frame (vfork).
        least = registers[RSP] + (not rule.moved)
        if frame < least and not rule.signal:
            raise LookupError("a frame that is no larger than nothing: the stack is damaged")
        moved = [(register, registers[source]) for register, source in rule.moved]
        shift, low, high = self._shift + frame, self._low - frame, self._high - frame - 8
        for register, offset in rule.saved:
            if not low <= offset <= high:
                raise LookupError(f"the frame at {frame:#x} is not on the copied stack")
            (registers[register],) = _WORD.unpack_from(self._data, shift + offset)
        for register, value in moved:
            registers[register] = value
        pointer = frame
        if rule.computed:
            values = {
                register: self._word(compute(expression, registers, self._word, (frame,)))
                for register, expression in rule.computed
            }
            pointer = values.pop(RSP, frame)
            for register, value in values.items():
                registers[register] = value
        registers[RSP] = pointer
        if not self._low <= pointer <= self._high:
            raise LookupError("the caller is on another stack")

    def _word(self, address: int) -> int:
        if not self._low <= address <= self._high - 8:
            raise LookupError(f"{address:#x} is not on the copied stack")
        return int(_WORD.unpack_from(self._data, self._shift + address)[0])

    def _code(self, pc: int, called: bool) -> tuple[Code, Rule | None, str]:
        """What is at a code address, its rule, or why there is none."""
        lookup = pc - called
        mapping = mapping_containing(self._record.mappings, lookup)
        if mapping is None or "x" not in mapping.permissions:
            code = Code(pc=pc, lookup=lookup, path="", offset=pc, function=None)
            if called:
                return code, None, f"{pc:#x} is not in the code of any file"
            # A call to nowhere: it pushed the address to return to, and nothing else happened.
            return code, Rule(function=pc), ""
        table = self._table(mapping.path)
        if isinstance(table, str):
            offset = lookup - mapping.start + mapping.offset
            code = Code(pc=pc, lookup=lookup, path=mapping.path, offset=offset, function=None)
            return code, None, table
        image, unwinder = table
        address = address_in_file(image, mapping, lookup)
        code = Code(pc=pc, lookup=lookup, path=mapping.path, offset=address, function=None)
        try:
            rule = unwinder.rule(address)
        except (EncodingError, BinaryError) as error:
            return code, None, f"{Path(mapping.path).name}: {error}"
        if rule is None:
            return code, None, f"no unwind information in {Path(mapping.path).name}+{address:#x}"
        code.function = rule.function
        return code, rule, ""

    def _table(self, path: str) -> tuple[Image, Unwinder] | str:
        if path not in self._tables:
            self._tables[path] = self._open(path)
        return self._tables[path]

    def _open(self, path: str) -> tuple[Image, Unwinder] | str:
        if complaint := changed(self._record, path):
            return complaint
        try:
            image = self._opened.enter_context(open_image(Path(path)))
            return image, Unwinder(image)
        except (EncodingError, BinaryError) as error:
            return f"{Path(path).name}: {error}"


def changed(record: Record, path: str) -> str:
    """Why a mapped file cannot be used any more, "" if it is as it was."""
    if not path.startswith("/"):
        return f"the code of {path} is in no file"
    try:
        status = Path(path).stat()
    except OSError as error:
        return f"{path}: {error.strerror}"
    if record.files.get(path) != (status.st_size, status.st_mtime_ns):
        return f"{path} has changed since the death"
    return ""


def address_in_file(image: Image, mapping: MemoryMapping, address: int) -> int:
    """What the file itself calls a mapped address."""
    offset = address - mapping.start + mapping.offset
    for segment in image.segments:
        if segment.kind == 1 and 0 <= offset - segment.offset < segment.file_bytes:
            return segment.address + offset - segment.offset
    return offset
