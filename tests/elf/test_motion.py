"""The stack pointer followed through code, as assembled by hand where compilers rarely go."""

from __future__ import annotations

import pytest

from reactivate.elf.motion import Follower, Motion


def follow(code: str, depth: int = 16, frame_pointer: int | None = 16) -> Motion:
    raw = bytes.fromhex(code)
    return Follower(raw, depth, frame_pointer).follow(0, len(raw))


LEAVE = " c9 c3"
PROBE = "4c 8d 9c 24 00 00 f0 ff  48 81 ec 00 10 00 00  48 83 0c 24 00  4c 39 dc  75 ef "


@pytest.mark.parametrize(
    ("code", "deepest"),
    [
        ("53 48 83 ec 18", 48),
        ("41 57 41 56 53 48 81 ec 88 13 00 00", 16 + 24 + 5000),
        ("48 83 c4 80", 144),  # add $-128
        ("48 8d a4 24 00 ff ff ff", 272),
        (PROBE, 16 + (1 << 20)),
        (PROBE + "48 83 ec 30", 64 + (1 << 20)),
        # mov %rsp,%r11; sub $0x11000,%r11; then the same loop
        ("49 89 e3 49 81 eb 00 10 01 00" + PROBE[24:], 16 + 0x11000),
        ("b8 00 00 01 00 e8 00 00 00 00 48 29 c4", 16 + 0x10000),  # call to a probe function
        ("b8 00 20 00 00 48 29 c4", 16 + 0x2000),
        ("c8 20 00 00", 16 + 8 + 32),
    ],
)
def test_static_growth(code: str, deepest: int) -> None:
    motion = follow(code + LEAVE)
    assert (motion.deepest_bytes, motion.dynamic, motion.incomplete) == (deepest, False, False)


@pytest.mark.parametrize(
    "code",
    ["48 29 c4", "48 2b e0", "48 89 c4", "48 8b 65 f0", "48 8d 24 07", "5c", "48 94",
     "48 2b 25 00 00 00 00"],
)  # fmt: skip
def test_growth_at_run_time(code: str) -> None:
    motion = follow("48 83 ec 20 " + code + LEAVE)
    assert (motion.deepest_bytes, motion.dynamic) == (48, True)


def test_a_probed_alloca_counts_none_of_its_steps() -> None:
    # 1: cmp %rcx,%rsp; je 2f; sub $4096,%rsp; orq $0,0xff8(%rsp); jmp 1b; 2: sub %rdx,%rsp
    code = (
        "48 83 ec 20 48 39 cc 74 12 48 81 ec 00 10 00 00 48 83 8c 24 f8 0f 00 00 00 eb e9 48 29 d4"
    )
    motion = follow(code + LEAVE)
    assert (motion.deepest_bytes, motion.dynamic) == (48, True)


def test_a_probed_alloca_of_constant_size_is_counted() -> None:
    # lea -0x2000(%rsp),%rax; 1: cmp %rax,%rsp; je 2f; sub $4096,%rsp; orq; jmp 1b; 2: sub $16
    code = (
        "48 8d 84 24 00 e0 ff ff 48 39 c4 74 12 48 81 ec 00 10 00 00 "
        "48 83 8c 24 f8 0f 00 00 00 eb e9 48 83 ec 10"
    )
    motion = follow(code + LEAVE)
    assert (motion.deepest_bytes, motion.dynamic) == (16 + 0x2000 + 16, False)


@pytest.mark.parametrize(
    ("code", "depth", "deepest", "slack"),
    [
        ("48 83 e4 c0 48 83 c4 80", 16, 144, 48),
        ("53 48 83 e4 e0", 16, 32, 16),
        ("48 83 e4 f0", 24, 32, 0),
        ("48 81 e4 00 ff ff ff", 16, 16, 240),
        ("40 b4 00", 16, 16, 240),
        ("66 31 e4", 16, 16, 65520),
    ],
)
def test_alignment_is_the_least_and_what_may_be_added(
    code: str, depth: int, deepest: int, slack: int
) -> None:
    motion = follow(code + LEAVE, depth)
    assert (motion.deepest_bytes, motion.slack_bytes) == (deepest, slack)
    assert not motion.dynamic


def test_an_early_return_does_not_shorten_the_rest() -> None:
    # push rbx; sub 24; je 1f; leave; ret; 1: push x4; call; add $32; leave; ret
    code = "53 48 83 ec 18 74 02 c9 c3 6a 01 6a 02 6a 03 6a 04 e8 00 00 00 00 48 83 c4 20"
    assert follow(code + LEAVE).deepest_bytes == 16 + 8 + 24 + 32


def test_arguments_of_calls_that_never_return_do_not_add_up() -> None:
    # je 1f; push x2; call abort; 1: je 2f; push x2; call abort; 2: leave; ret
    once = "74 09 6a 01 6a 02 e8 00 00 00 00 "
    assert follow(once + once + LEAVE).deepest_bytes == 32


def test_cleanup_shared_by_a_jump_back_is_no_loop() -> None:
    # jmp 2f; 1: add $16; leave; ret; 2: sub $8; push; jmp 1b
    code = "eb 06 48 83 c4 10 c9 c3 48 83 ec 08 6a 01 eb f2"
    motion = follow(code)
    assert (motion.deepest_bytes, motion.dynamic) == (32, False)


def test_what_is_not_understood_is_said() -> None:
    assert follow("48 83 ec 20 06 53" + LEAVE).incomplete
    assert follow("48 83 ec").incomplete
    assert follow("48 8d 64").incomplete


def test_a_jump_into_an_instruction_is_stepped_over() -> None:
    # je past the lock prefix; lock cmpxchg; push; leave; ret
    code = "74 01 f0 0f b1 11 53"
    motion = follow(code + LEAVE)
    assert (motion.deepest_bytes, motion.incomplete) == (24, False)
