from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
import trio

from reactivate import procfs
from reactivate.target.box_faults import faulty_backing, why_unavailable
from reactivate.target.model import BackingFault
from reactivate.target.reap import reap
from reactivate.target.unmount import mounts_below
from reactivate.workspace import Workspace
from tests.target.daemons import BINDFS, assert_nothing_left, launcher, needs_bindfs

ROOT = Path(__file__).parents[2]

pytestmark = [pytest.mark.fuse, pytest.mark.usefixtures("needs_fuse")]


@pytest.fixture(autouse=True)
def _bindfs() -> None:
    needs_bindfs()


def require(fault: BackingFault) -> None:
    if why := why_unavailable(fault):
        pytest.skip(why)


def written_before_failing(path: Path, *, sync: bool = False) -> tuple[int, int]:
    """Bytes that were taken, in pieces of 4 KiB, and the error that ended it."""
    taken = 0
    try:
        with path.open("wb", buffering=0) as file:
            while taken < 1 << 22:
                taken += file.write(bytes(4096))
                if sync:
                    os.fsync(file.fileno())
    except OSError as error:
        assert error.errno is not None
        return taken, error.errno
    return taken, 0


@pytest.mark.root
@pytest.mark.usefixtures("needs_root")
@pytest.mark.parametrize(
    ("fault", "number", "taken"),
    [(BackingFault.FULL, errno.ENOSPC, 65536), (BackingFault.IO_ERROR, errno.EIO, 65536)],
)
def test_a_daemon_meets_the_real_error(
    tmp_path: Path, fault: BackingFault, number: int, taken: int
) -> None:
    require(fault)

    async def main() -> None:
        async with faulty_backing(Workspace(tmp_path), fault, after_bytes=65536) as faulty:
            assert errno.errorcode[number] in faulty.how or "EIO" in faulty.how
            async with launcher(tmp_path, BINDFS).mounted(backing=faulty.path) as daemon:
                mounted = daemon.mountpoint / "file"
                result = await trio.to_thread.run_sync(written_before_failing, mounted)
                assert result == (taken, number)
                assert daemon.alive()
            # The data is still there for the next mount, and so is the fault.
            async with launcher(tmp_path, BINDFS).mounted(backing=faulty.path) as daemon:
                again = daemon.mountpoint / "file"
                assert (await trio.to_thread.run_sync(again.read_bytes)) == bytes(65536)
                with pytest.raises(OSError) as caught:
                    await trio.to_thread.run_sync((daemon.mountpoint / "b").write_bytes, b"x")
                assert caught.value.errno == number

    trio.run(main)
    assert_nothing_left(tmp_path)


def test_read_only(tmp_path: Path) -> None:
    async def main() -> None:
        workspace = Workspace(tmp_path)
        faulted = faulty_backing(workspace, BackingFault.READ_ONLY, after_bytes=0)
        async with (
            faulted as faulty,
            launcher(tmp_path, BINDFS).mounted(backing=faulty.path) as daemon,
        ):
            with pytest.raises(OSError) as caught:
                await trio.to_thread.run_sync((daemon.mountpoint / "b").write_bytes, b"x")
            expected = errno.EROFS if os.geteuid() == 0 else errno.EACCES
            assert caught.value.errno == expected
            assert errno.errorcode[expected] in faulty.how

    trio.run(main)
    assert_nothing_left(tmp_path)


def test_the_breaking_layer_mirrors_until_it_breaks(tmp_path: Path) -> None:
    require(BackingFault.IO_ERROR)

    def use(folder: Path) -> None:
        (folder / "a" / "b").mkdir(parents=True)
        (folder / "a" / "b" / "f").write_bytes(b"one")
        with (folder / "a" / "b" / "f").open("ab") as file:
            file.write(b" two")
            file.flush()
            os.fsync(file.fileno())
        (folder / "a").rename(folder / "c")
        moved = folder / "c" / "b" / "f"
        assert moved.read_bytes() == b"one two"
        moved.chmod(0o600)
        assert moved.stat().st_mode & 0o777 == 0o600
        os.truncate(moved, 3)
        assert moved.read_bytes() == b"one"
        moved.unlink()
        assert list((folder / "c" / "b").iterdir()) == []
        (folder / "c" / "b").rmdir()
        for number in range(200):
            (folder / f"f{number}").touch()
        assert len(list(folder.iterdir())) == 201
        assert written_before_failing(folder / "large", sync=True) == (4096, errno.EIO)
        for change in ((folder / "f0").unlink, (folder / "new").mkdir, (folder / "g").touch):
            with pytest.raises(OSError, match="Input/output error"):
                change()
        assert (folder / "f0").read_bytes() == b""

    async def main() -> None:
        workspace = Workspace(tmp_path)
        async with faulty_backing(workspace, BackingFault.IO_ERROR, after_bytes=8000) as faulty:
            await trio.to_thread.run_sync(use, faulty.path)

    trio.run(main)
    assert_nothing_left(tmp_path)


@pytest.mark.root
@pytest.mark.usefixtures("needs_root")
@pytest.mark.parametrize("fault", list(BackingFault))
def test_what_a_killed_tool_left_is_removed_and_only_that(
    tmp_path: Path, fault: BackingFault
) -> None:
    require(fault)
    precious = tmp_path / "precious"
    precious.write_text("kept")
    code = (
        "import sys, trio; from pathlib import Path\n"
        "from reactivate.target.box_faults import faulty_backing\n"
        "from reactivate.target.model import BackingFault\n"
        "from reactivate.workspace import Workspace\n"
        "async def main():\n"
        f"    fault = BackingFault({fault.value!r})\n"
        "    workspace = Workspace(Path(sys.argv[1]))\n"
        "    async with faulty_backing(workspace, fault, after_bytes=4096) as f:\n"
        "        print(f.path, flush=True)\n"
        "        await trio.sleep_forever()\n"
        "trio.run(main)"
    )  # fmt: skip
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as tool:
        assert tool.stdout is not None
        path = Path(tool.stdout.readline().strip())
        assert mounts_below(path) == (path,)
        assert reap(Workspace(tmp_path)) == ()
        tool.kill()
    if fault is BackingFault.IO_ERROR:
        connection = procfs.fuse_mount_at(path)
        assert connection is not None
    said = reap(Workspace(tmp_path))
    assert any(f"unmounted {path}" in sentence for sentence in said), said
    assert mounts_below(path) == ()
    assert precious.read_text() == "kept"
    assert_nothing_left(tmp_path)
