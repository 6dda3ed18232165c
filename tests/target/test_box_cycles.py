"""Many mounts, one after the other, leave nothing in this process or on the machine."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest
import trio

from reactivate.evidence import Pid
from reactivate.target.box_cgroup import find_places
from reactivate.target.model import Box
from reactivate.target.server import children
from tests.target.daemons import BINDFS, assert_nothing_left, launcher, needs_bindfs

CYCLES = 50


def held() -> dict[str, object]:
    """What a leak would show in."""
    own = Pid(os.getpid())
    groups = [folder.parent for folder in find_places("test").folders]
    return {
        "descriptors": len(list(Path("/proc/self/fd").iterdir())),
        "threads": sorted(t.name for t in threading.enumerate() if "Trio" not in t.name),
        "children": sorted(children(own)),
        "mounts": Path("/proc/self/mountinfo").read_text().count(f"/.run/{os.getpid()}-"),
        "groups": [list(group.glob(f"reactivate-{os.getpid()}-*")) for group in groups],
    }


@pytest.mark.fuse
@pytest.mark.slow(8)
@pytest.mark.usefixtures("needs_fuse")
@pytest.mark.parametrize("isolate", [False, True])
def test_nothing_is_left_of_many_mounts(tmp_path: Path, isolate: bool) -> None:
    needs_bindfs()
    box = Box(memory_bytes=256 << 20, processes=64, isolate=isolate)

    async def main() -> None:
        async def once() -> None:
            async with launcher(tmp_path, BINDFS).mounted(box=box) as daemon:
                assert os.statvfs(daemon.mountpoint).f_bsize > 0

        await once()  # what is made once and kept: trio's threads, modules
        before = held()
        for _ in range(CYCLES):
            await once()
        assert held() == before

    trio.run(main)
    assert_nothing_left(tmp_path)
