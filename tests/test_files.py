"""What is no regular file is neither waited for nor replaced."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from reactivate.errors import WorkspaceError
from reactivate.files import read_plain, replace_file
from reactivate.report.export.write import write_file


@pytest.fixture(params=["pipe", "device"])
def odd(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A pipe, or a link to a device: whoever breaks the code must not lose the machine's own."""
    path = tmp_path / "odd"
    if request.param == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/null")
    return path


def test_it_is_not_read(odd: Path) -> None:
    with pytest.raises(OSError, match="it is a"):
        read_plain(odd)


def test_it_is_not_replaced(odd: Path) -> None:
    before = odd.lstat()
    with pytest.raises(OSError, match="it is a"):
        replace_file(odd, b"x")
    with pytest.raises(WorkspaceError, match="cannot be written"):
        write_file(["x"], odd)
    assert (odd.lstat().st_ino, stat.S_IFMT(odd.lstat().st_mode)) == (
        before.st_ino,
        stat.S_IFMT(before.st_mode),
    )
    assert [path.name for path in odd.parent.iterdir()] == ["odd"]
