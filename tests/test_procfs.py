"""Readers of /proc, held against this very process and against what the kernel documents."""

from __future__ import annotations

import contextlib
import mmap
import os
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from reactivate import procfs
from reactivate.errors import MachineError
from reactivate.evidence import Pid, Tid
from tests.waiting import until

ME = Pid(os.getpid())
_GONE = Pid(2**22)  # one more than the largest pid_max


@contextlib.contextmanager
def reading_child() -> Iterator[tuple[Pid, subprocess.Popen[bytes]]]:
    """A process that has said a byte and sleeps in read()."""
    code = "import os; os.write(1, b'x'); os.read(0, 1)"
    with subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        assert child.stdout.read(1) == b"x"
        yield Pid(child.pid), child
        with contextlib.suppress(ProcessLookupError):
            child.kill()


def wait_blocked(pid: Pid) -> procfs.BlockedCall:
    """The call that the main thread sleeps in, once it does."""
    calls: list[procfs.BlockedCall] = []

    def blocked() -> bool:
        call = procfs.task_syscall(pid, Tid(pid))
        calls[:] = [] if call is None or call.number < 0 else [call]
        return bool(calls)

    until(blocked, "the main thread sleeps")
    return calls[0]


def test_stat_of_a_command_with_blanks_and_parentheses() -> None:
    tail = "S 7 1 1 0 -1 4194560 11 0 22 0 1 2 0 0 20 0 5 0 98765 0 0"
    stat = procfs.parse_stat(f"42 (a) b (c) {tail}")
    assert stat.command == "a) b (c"
    assert (stat.state, stat.parent, stat.minor_faults, stat.major_faults) == ("S", 7, 11, 22)
    assert (stat.threads, stat.start_ticks) == (5, 98765)
    assert not stat.exiting
    ending = tail.replace("4194560", str(4194560 | 0x4))
    assert procfs.parse_stat(f"42 (a) {ending}").exiting


def test_own_threads_are_found_with_their_start_times() -> None:
    release = threading.Event()
    started = threading.Event()
    tids: list[int] = []

    def work() -> None:
        tids.append(threading.get_native_id())
        started.set()
        release.wait()

    thread = threading.Thread(target=work)
    thread.start()
    started.wait()
    try:
        tid = Tid(tids[0])
        assert tid in procfs.thread_ids(ME)
        assert Tid(ME) in procfs.thread_ids(ME)
        assert procfs.thread_start_ticks(ME, tid) >= procfs.process_start_ticks(ME)
        assert procfs.process_stat(ME).threads == len(procfs.thread_ids(ME))
    finally:
        release.set()
        thread.join()


def test_a_sleeping_process_shows_its_call_and_a_stack_pointer_on_its_stack() -> None:
    with reading_child() as (pid, child):
        call = wait_blocked(pid)
        assert call.number == (0 if os.uname().machine == "x86_64" else 63)  # read
        assert call.arguments[0] == 0
        assert procfs.main_stack(pid).contains(call.sp)
        before = procfs.context_switches(pid, Tid(pid))
        assert before == procfs.context_switches(pid, Tid(pid))
        assert procfs.process_state(pid) == "S"
        assert procfs.process_runs(pid)
        child.communicate(b"y")
        assert not procfs.process_runs(pid)


def test_a_zombie_does_not_run_and_has_no_memory() -> None:
    with reading_child() as (pid, child):
        assert procfs.send_signal(pid, signal.SIGKILL)
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        assert procfs.process_state(pid) == "Z"
        assert not procfs.process_runs(pid)
        with pytest.raises(ProcessLookupError):
            procfs.memory_status(pid)
        with pytest.raises(ProcessLookupError):
            procfs.main_stack(pid)
        assert child.wait() == -signal.SIGKILL


@pytest.mark.parametrize(
    "reader",
    [
        procfs.process_stat,
        procfs.thread_ids,
        procfs.main_stack,
        procfs.stack_limit_bytes,
        procfs.memory_status,
        procfs.reset_peak_rss,
        procfs.smaps_rollup,
        procfs.process_state,
    ],
)
def test_every_reader_says_when_the_process_is_gone(reader: object) -> None:
    assert callable(reader)
    with pytest.raises(ProcessLookupError):
        reader(_GONE)
    assert not procfs.process_runs(_GONE)


def test_maps_with_blanks_in_a_path_and_without_a_path() -> None:
    text = (
        "5581b0000000-5581b0001000 r-xp 00002000 fe:01 42                         /a b (deleted)\n"
        "7f0000000000-7f0000800000 rw-p 00000000 00:00 0 \n"
        "7ffd00000000-7ffd00021000 rw-p 00000000 00:00 0                          [stack]\n"
    )
    first, second, third = procfs.parse_maps(text)
    assert (first.path, first.offset, first.inode) == ("/a b (deleted)", 0x2000, 42)
    assert (second.path, second.size_bytes) == ("", 8 << 20)
    assert third.path == "[stack]"
    assert procfs.mapping_containing((first, second, third), 0x7F0000000000) is second
    assert procfs.mapping_containing((first, second, third), 0x7F0000800000) is None


def test_own_mapping_is_found_where_it_was_made() -> None:
    with mmap.mmap(-1, 64 * 4096, mmap.MAP_SHARED) as made:
        del made
        mappings = procfs.memory_mappings(ME)
    assert list(mappings) == sorted(mappings, key=lambda mapping: mapping.start)
    stack = procfs.main_stack(ME)
    assert any(m.start <= stack.start and m.end == stack.end for m in mappings)


def test_stack_limit_is_the_soft_one() -> None:
    code = (
        "import resource, os; resource.setrlimit(resource.RLIMIT_STACK, (3 << 20, 5 << 20));"
        "os.write(1, b'x'); os.read(0, 1)"
    )
    with subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        assert child.stdout.read(1) == b"x"
        assert procfs.stack_limit_bytes(Pid(child.pid)) == 3 << 20
        assert procfs.main_stack_room_bytes(Pid(child.pid)) == 3 << 20
        assert resource.prlimit(child.pid, resource.RLIMIT_STACK)[0] == 3 << 20
        child.communicate(b"y")


def test_an_unlimited_stack_is_no_limit() -> None:
    text = "Limit  Soft Limit  Hard Limit  Units\nMax stack size   unlimited   unlimited   bytes\n"
    assert procfs.parse_stack_limit(text) is None
    with reading_child() as (pid, child):
        try:
            hard = resource.prlimit(pid, resource.RLIMIT_STACK)[1]
            if hard != resource.RLIM_INFINITY:
                pytest.skip("the hard limit of the stack is not unlimited here")
            resource.prlimit(pid, resource.RLIMIT_STACK, (hard, hard))
            with pytest.raises(MachineError, match="unlimited"):
                procfs.stack_limit_bytes(pid)
            assert 0 < procfs.main_stack_room_bytes(pid) < 1 << 47
        finally:
            child.communicate(b"y")


def test_the_peak_of_memory_can_be_set_back() -> None:
    size = 32 << 20
    block = bytearray(os.urandom(1) * size)
    with_block = procfs.memory_status(ME)
    assert with_block.peak_rss_bytes >= with_block.rss_bytes
    del block
    assert procfs.memory_status(ME).peak_rss_bytes >= with_block.rss_bytes - (1 << 20)
    try:
        procfs.reset_peak_rss(ME)
    except PermissionError:
        pytest.skip("/proc/self/clear_refs cannot be written here")
    after = procfs.memory_status(ME)
    assert after.peak_rss_bytes < with_block.rss_bytes - size // 2
    assert abs(procfs.smaps_rollup(ME)["Rss"] - after.rss_bytes) < 4 << 20


def test_fuse_mounts_with_escaped_names() -> None:
    text = (
        "21 1 8:1 / / rw - ext4 /dev/sda1 rw\n"
        "40 21 0:51 / /mnt/a\\040b\\134c rw,nosuid shared:7 - fuse.model one\\011two rw\n"
        "41 21 0:52 / /mnt/odd\rname rw - fuse odd rw\n"
        "42 21 8:17 / /mnt/disk rw - fuseblk /dev/sdb1 rw\n"
        "43 21 0:53 / /sys/fs/fuse/connections rw - fusectl fusectl rw\n"
    )
    first, second, third = procfs.parse_mountinfo(text)
    assert first.mountpoint == Path("/mnt/a b\\c")
    assert (first.connection, first.fstype, first.source) == (51, "fuse.model", "one\ttwo")
    assert second.mountpoint == Path("/mnt/odd\rname")
    assert third.connection == 8 << 20 | 17
    assert procfs.fuse_mount_at(Path("/proc")) is None


def test_an_unknown_connection_has_no_number_of_waiting_requests() -> None:
    assert procfs.waiting_requests(2**31) is None
    assert procfs.abort_connection(2**31) is False


def test_a_recycled_pid_is_not_signalled() -> None:
    with reading_child() as (pid, child):
        ticks = procfs.process_start_ticks(pid)
        assert procfs.send_signal(pid, signal.SIGKILL, start_ticks=ticks - 1) is False
        assert procfs.process_runs(pid)
        assert procfs.send_signal(pid, signal.SIGTERM, start_ticks=ticks) is True
        assert child.wait() == -signal.SIGTERM
    assert procfs.send_signal(_GONE, signal.SIGTERM) is False
