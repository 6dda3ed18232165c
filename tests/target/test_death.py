from __future__ import annotations

import shutil
import signal
import subprocess
from pathlib import Path

import pytest
import trio

from reactivate import procfs
from reactivate.target.death import DaemonDeathError, describe_status, log_tail
from tests.target.daemons import assert_nothing_left, launcher


@pytest.mark.parametrize(
    ("returncode", "words"),
    [
        (0, "exited with status 0"),
        (3, "exited with status 3"),
        (-11, "was killed by SIGSEGV"),
        (-9, "was killed by SIGKILL"),
        (-63, "was killed by signal 63"),
    ],
)
def test_describe_status(returncode: int, words: str) -> None:
    assert describe_status(returncode) == words


def test_log_tail(tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert log_tail(log) == ""
    log.write_bytes(b"")
    assert log_tail(log) == ""
    log.write_bytes(b"".join(b"line %d\n" % n for n in range(10_000)) + b"\xff last\n\n")
    assert log_tail(log, 2) == "line 9999\n\ufffd last"


RECURSE = r"""
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
static int deeper(volatile char *above) {
    char frame[512];
    memset(frame, above[0] + 1, sizeof frame);
    return deeper(frame) + frame[7];
}
static void *begin(void *nothing) { char first = 1; return (void *)(long)deeper(&first); }
int main(int count, char **arguments) {
    if (count < 2) return (int)(long)begin(NULL);
    pthread_t thread;
    pthread_create(&thread, NULL, begin, NULL);
    pthread_join(thread, NULL);
}
"""


@pytest.mark.fuse
@pytest.mark.usefixtures("needs_fuse")
@pytest.mark.parametrize("where", ["main", "thread"])
def test_a_traced_overflow_is_told_with_its_address(tmp_path: Path, where: str) -> None:
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler (Debian package gcc)")
    (tmp_path / "recurse.c").write_text(RECURSE)
    program = tmp_path / "recurse"
    subprocess.run(
        [compiler, "-O0", "-pthread", "-o", program, tmp_path / "recurse.c"],
        check=True,
        timeout=60,
    )
    command = (str(program), *(["thread"] if where == "thread" else []))
    limit = 512 * 1024

    async def main() -> None:
        traced = launcher(tmp_path, command).mounted(stack_limit_bytes=limit, traced=True)
        async with traced:
            pytest.fail("must not be reached")

    with pytest.raises(DaemonDeathError, match="SIGSEGV") as caught:
        trio.run(main)
    assert caught.value.returncode == -signal.SIGSEGV
    (fault,) = caught.value.faults
    assert fault.signal == signal.SIGSEGV
    assert fault.code > 0
    assert fault.address is not None
    assert fault.stack_pointer is not None
    assert fault.instruction_pointer is not None
    assert abs(fault.address - fault.stack_pointer) < 4096
    mappings = procfs.parse_maps(fault.maps)
    code = procfs.mapping_containing(mappings, fault.instruction_pointer)
    assert code is not None
    if where == "main":
        (stack,) = [m for m in mappings if m.path == "[stack]"]
        # The stack has grown to its limit and the next byte below it was wanted.
        assert stack.end - stack.start == limit
        assert stack.start - 4096 <= fault.address < stack.start
    else:
        guard = procfs.mapping_containing(mappings, fault.address)
        assert guard is not None
        assert guard.permissions.startswith("---")
        assert procfs.mapping_containing(mappings, guard.end) is not None
    assert_nothing_left(tmp_path)
