"""What kind of overflow a call chain shows, and what is known to help. Pure.

A class is given only where the chain's bytes prove it; everything else is `unclear`, and where
nothing is proven nothing is advised.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from reactivate.units import format_bytes

DOMINANT = 0.5
"""Share of the stack's bytes from which one reason is called the reason."""

_LARGE_SHARE = 0.25
_LARGE_BYTES = 1 << 20
"""A single frame from here on is large, whatever else is on the stack."""

_GIANT_BYTES = 64 << 10
"""What a frame should stay below even where there is room."""

_MOST_NAMES = 6

_LEAST_LARGE_BYTES = 16 << 10
"""A smaller frame is no large one, however small the stack that it fills."""

_LEAST_REPETITIONS = 8
"""Fewer frames of one function are an ordinary nesting."""

_LINK_SHARE = 0.05
"""From here on a frame counts as a link of an initialisation chain."""

_MANY = 8
_ATTRIBUTED = 0.5
"""Below this share of known frames a chain says nothing."""


class OverflowClass(StrEnum):
    """Why a stack became so deep."""

    RECURSION = "recursion"
    LARGE_FRAME = "large_frame"
    INITIALISATION_CHAIN = "initialisation_chain"
    MANY_SMALL_FRAMES = "many_small_frames"
    KERNEL_TOUCH = "kernel_touch"
    UNCLEAR = "unclear"


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Frames that belong together: one frame, or the repetitions of a recursion.

    Attributes:
        functions: that repeat, outermost first; one for a single frame or plain recursion.
        count: repetitions; 1 for a single frame.
        size_bytes: of all of them.
        each_bytes: of the largest repetition.
        function: whose frame is the largest in it.
        frame_bytes: of that frame.
        file: source file of that function, "" if unknown.
        line: 1-based line in it, 0 if unknown.
    """

    functions: tuple[str, ...]
    count: int
    size_bytes: int
    each_bytes: int
    function: str
    frame_bytes: int
    file: str = ""
    line: int = 0

    @property
    def place(self) -> str:
        """`function at file:line`, or the function alone."""
        return f"{self.function} at {self.file}:{self.line}" if self.file else self.function


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainFacts:
    """A folded call chain.

    Attributes:
        groups: innermost first; all frames are in them.
        total_bytes: of the whole stack, from the thread's start to the deepest byte.
        attributed_bytes: of frames whose function or module is known.
        overflow: whether it is the chain of an overflow; None for the deepest point of a run
            that was survived, False for a death of another kind.
        kernel: whether the kernel wanted the bytes that were not there.
        complete: whether the chain goes to the thread's start.
    """

    groups: tuple[Group, ...]
    total_bytes: int
    attributed_bytes: int
    overflow: bool | None
    kernel: bool = False
    complete: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Circumstances:
    """What is known beside the chain.

    Attributes:
        initialising: whether the daemon had not yet answered its first request.
        operation: in flight, "" if none or unknown.
        kernel_bytes: of stack pages that the kernel was the first to touch; None if not measured.
    """

    initialising: bool = False
    operation: str = ""
    kernel_bytes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Classification:
    """The class of a deep stack.

    Attributes:
        kind: see `OverflowClass`.
        function: the one that is to be changed, "" if unclear.
        file: its source file, "" if unknown.
        line: 1-based line in it, 0 if unknown.
        size_bytes: that are blamed on it.
        share: of the whole stack, 0 to 1.
        evidence: one sentence with the numbers.
        repetition_bytes: of one repetition, for recursion; else 0.
        initialising: as in `Circumstances`.
        kernel: whether the kernel wanted the bytes that were not there.
    """

    kind: OverflowClass
    evidence: str
    function: str = ""
    file: str = ""
    line: int = 0
    size_bytes: int = 0
    share: float = 0.0
    repetition_bytes: int = 0
    initialising: bool = False
    kernel: bool = False

    @property
    def place(self) -> str:
        """`function at file:line`, the function alone, or ""."""
        return f"{self.function} at {self.file}:{self.line}" if self.file else self.function


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """A remedy.

    Attributes:
        text: what to do.
        applies_to: `function at file:line`.
        evidence: what was measured that speaks for it.
    """

    text: str
    applies_to: str
    evidence: str


def classify(facts: ChainFacts, around: Circumstances) -> Classification:
    """Say why a stack became so deep.

    Args:
        facts: its call chain.
        around: what is known beside the chain.
    """
    total = facts.total_bytes
    if facts.overflow is False:
        return _unclear("the death was no overflow, so its stack is not to blame")
    if not facts.groups or total <= 0:
        return _unclear("there is no call chain")
    if facts.attributed_bytes < _ATTRIBUTED * total:
        return _unclear(
            f"only {facts.attributed_bytes / total:.0%} of {format_bytes(total)} belong to "
            "frames that are known"
        )
    for test in (_kernel_pages, _recursion, _large_frame, _chain, _large_share, _signal, _many):
        found = test(facts, around)
        if found is not None:
            return found
    return _unclear(
        f"{_frames(facts.groups)} frames share {format_bytes(total)}, and no function, no frame "
        "and no layer stands out"
    )


def _unclear(why: str) -> Classification:
    return Classification(kind=OverflowClass.UNCLEAR, evidence=why)


def _made(
    kind: OverflowClass,
    facts: ChainFacts,
    around: Circumstances,
    group: Group,
    size_bytes: int,
    evidence: str,
) -> Classification:
    during = f", during `{around.operation}`" if around.operation else ""
    if around.initialising:
        during = ", before the daemon answered its first request"
    return Classification(
        kind=kind,
        function=group.function,
        file=group.file,
        line=group.line,
        size_bytes=size_bytes,
        share=min(1.0, size_bytes / facts.total_bytes),
        evidence=f"{evidence}, {size_bytes / facts.total_bytes:.1%} of "
        f"{format_bytes(facts.total_bytes)}{during}",
        repetition_bytes=group.each_bytes if kind is OverflowClass.RECURSION else 0,
        initialising=around.initialising,
        kernel=facts.kernel,
    )


def _kernel_pages(facts: ChainFacts, around: Circumstances) -> Classification | None:
    """Most pages were first touched by the kernel: it filled a buffer that lies on the stack."""
    touched = around.kernel_bytes or 0
    if touched < DOMINANT * facts.total_bytes:
        return None
    group = max(facts.groups, key=lambda g: g.frame_bytes)
    what = f"the kernel was the first to touch {format_bytes(touched)}, the largest frame is "
    what += f"{group.function}'s with {format_bytes(group.frame_bytes)}"
    return _made(OverflowClass.KERNEL_TOUCH, facts, around, group, touched, what)


def _recursion(facts: ChainFacts, around: Circumstances) -> Classification | None:
    """The same functions over and over, in one run or with others in between."""
    together: dict[frozenset[str], list[Group]] = {}
    for group in facts.groups:
        together.setdefault(frozenset(group.functions), []).append(group)
    sizes = {
        functions: sum(g.size_bytes for g in groups)
        for functions, groups in together.items()
        if sum(g.count for g in groups) >= _LEAST_REPETITIONS
    }
    size = sum(sizes.values())
    if size < DOMINANT * facts.total_bytes:
        return None
    worst = together[max(sizes, key=lambda functions: sizes[functions])]
    group = max(worst, key=lambda g: g.size_bytes)
    names = " → ".join(group.functions[:_MOST_NAMES])
    names += " → …" * (len(group.functions) > _MOST_NAMES)
    what = f"{names} × {sum(g.count for g in worst):,}, {format_bytes(group.each_bytes)} each time"
    if len(sizes) > 1:
        what += f", {len(sizes) - 1} more that come back between them"
    return _made(OverflowClass.RECURSION, facts, around, group, size, what)


def _large_frame(facts: ChainFacts, around: Circumstances) -> Classification | None:
    """One frame is half of the stack, or larger than a frame should ever be."""
    group = max(facts.groups, key=lambda g: g.frame_bytes)
    least = _LARGE_SHARE if group.frame_bytes >= _LARGE_BYTES else DOMINANT
    if group.frame_bytes < max(_LEAST_LARGE_BYTES, least * facts.total_bytes):
        return None
    return _frame(facts, around, group)


def _large_share(facts: ChainFacts, around: Circumstances) -> Classification | None:
    """One frame is a quarter of the stack, or a few giant ones are half of it together."""
    group = max(facts.groups, key=lambda g: g.frame_bytes)
    if group.frame_bytes >= max(_LEAST_LARGE_BYTES, _LARGE_SHARE * facts.total_bytes):
        return _frame(facts, around, group)
    giants = [g for g in facts.groups if g.count == 1 and g.frame_bytes >= _GIANT_BYTES]
    size = sum(g.frame_bytes for g in giants)
    if not giants or size < DOMINANT * facts.total_bytes:
        return None
    names = " → ".join(g.function for g in reversed(giants[:_MOST_NAMES]))
    more = f" and {len(giants) - _MOST_NAMES} more" if len(giants) > _MOST_NAMES else ""
    what = f"{len(giants)} frames of at least {format_bytes(_GIANT_BYTES)} ({names}{more})"
    what += f" hold {format_bytes(size)}"
    return _made(OverflowClass.LARGE_FRAME, facts, around, group, size, what)


def _frame(facts: ChainFacts, around: Circumstances, group: Group) -> Classification:
    what = f"one frame of {group.function} takes {format_bytes(group.frame_bytes)}"
    return _made(OverflowClass.LARGE_FRAME, facts, around, group, group.frame_bytes, what)


def _chain(facts: ChainFacts, around: Circumstances) -> Classification | None:
    """Constructors that call each other, each with tables of its own."""
    if not around.initialising:
        return None
    links = [g for g in facts.groups if g.size_bytes >= _LINK_SHARE * facts.total_bytes]
    size = sum(g.size_bytes for g in links)
    if len(links) < 2 or size < DOMINANT * facts.total_bytes:
        return None
    names = " → ".join(g.function for g in reversed(links[:_MOST_NAMES]))
    what = f"{len(links)} nested functions ({names}) hold {format_bytes(size)}"
    largest = max(links, key=lambda g: g.size_bytes)
    return _made(OverflowClass.INITIALISATION_CHAIN, facts, around, largest, size, what)


def _signal(facts: ChainFacts, around: Circumstances) -> Classification | None:
    """Nothing stands out, and the kernel wanted room for a signal's frame."""
    if not facts.kernel:
        return None
    group = facts.groups[0]
    what = f"the kernel found no room for a signal's frame below {group.function}"
    return _made(OverflowClass.KERNEL_TOUCH, facts, around, group, group.size_bytes, what)


def _many(facts: ChainFacts, around: Circumstances) -> Classification | None:
    count = _frames(facts.groups)
    if count < _MANY:
        return None
    largest = max(facts.groups, key=lambda g: g.size_bytes)
    what = f"{count:,} frames, none above {format_bytes(max(g.frame_bytes for g in facts.groups))}"
    return _made(
        OverflowClass.MANY_SMALL_FRAMES, facts, around, largest, facts.attributed_bytes, what
    )


def _frames(groups: Sequence[Group]) -> int:
    return sum(group.count * len(group.functions) for group in groups)


_ITERATE = "walk iteratively, with the pending work on an explicit stack or queue on the heap"
_BOUND = "bound the depth, and answer with an error where it is reached"
_LEAN = "keep what each repetition needs out of its frame: one buffer on the heap for all of them"
_HEAP = "put the array on the heap, allocated once and kept, instead of into the frame"
_LAZY = "prepare it at first use instead of at start"
_FLAT = "return from each step before the next one begins, instead of calling it from within"
_SHORT = "take buffers out of the frames on this path, and call fewer layers from within each other"
_BUFFER = "let the kernel fill a buffer on the heap instead of one on the stack"
_ALTERNATE = "give signal handlers a stack of their own (sigaltstack, SA_ONSTACK)"

_LEAN_BYTES = 512
"""From here on a repetition holds more than its arguments and saved registers."""


def advice(found: Classification) -> tuple[Advice, ...]:
    """What is known to help against it, the strongest first; nothing for an unclear one."""
    texts: list[str] = []
    match found.kind:
        case OverflowClass.RECURSION:
            texts = [_ITERATE, _BOUND]
            texts += [_LEAN] if found.repetition_bytes >= _LEAN_BYTES else []
        case OverflowClass.LARGE_FRAME:
            texts = [_HEAP] + [_LAZY] * found.initialising
        case OverflowClass.INITIALISATION_CHAIN:
            texts = [_FLAT, _HEAP, _LAZY]
        case OverflowClass.MANY_SMALL_FRAMES:
            texts = [_SHORT]
        case OverflowClass.KERNEL_TOUCH:
            texts = [] if found.kernel else [_BUFFER]
        case OverflowClass.UNCLEAR:
            return ()
    texts += [_ALTERNATE] if found.kernel else []
    return tuple(
        Advice(text=text, applies_to=found.place, evidence=found.evidence) for text in texts
    )
