"""Pipes, sockets, devices, folders, links where files are expected: refused, not waited for."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from reactivate.errors import ExitCode
from reactivate.workspace import Workspace
from tests.campaign.made_campaigns import go_on, workspace_for
from tests.cli.workspaces import Here
from tests.reliability.leftovers import digest

_PATIENCE_SECONDS = 120.0
LEDGER = ("ledger.db", "ledger.db.lock", "ledger.db-journal")
READ = (*LEDGER, "configs/instruments.toml", "configs/targets/own.toml", "checklists/small.md",
        "docs/decisions/0001-setup-confirmed.md")  # fmt: skip


def _socket(path: Path) -> None:
    held = os.open(path.parent, os.O_PATH)
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(f"/proc/self/fd/{held}/{path.name}")  # a path of its own may be too long
    os.close(held)


def _device(path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root to make a device")
    os.mknod(path, 0o666 | 0o020000, os.makedev(1, 5))  # /dev/zero never ends


KINDS: dict[str, Callable[[Path], None]] = {
    "pipe": os.mkfifo, "socket": _socket, "device": _device, "folder": Path.mkdir,
}  # fmt: skip
TYPED = """\
import json, sys
from reactivate.cli.main import run
for arguments in json.load(sys.stdin):
    try:
        run(arguments)
    except SystemExit as ended:
        print(json.dumps(ended.code), file=sys.stderr, flush=True)
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with a campaign that has begun; tests work on copies."""
    workspace = workspace_for(tmp_path_factory.mktemp("made") / "w")
    go_on(workspace, 3, steps=2)
    return workspace.root


def _planted(made: Path, root: Path, name: str) -> Path:
    shutil.copytree(made, root)
    (root / name).unlink(missing_ok=True)
    return root / name


def test_what_is_no_file_is_told_at_once(made: Path, tmp_path: Path) -> None:
    typed, names = [], []
    for name, kind in [*((n, "pipe") for n in READ), *((LEDGER[0], k) for k in KINDS)]:
        root = tmp_path / f"w{len(typed)}"
        KINDS[kind](_planted(made, root, name))
        verbs = [["next", "--yes"]]
        # Who only reads takes no lock, and needs no configuration.
        if name != LEDGER[1] and not name.startswith("c"):
            verbs += [["log", "--write"], ["ledger", "verify", "--no-git"]]
        typed += [["-C", str(root), *verb] for verb in verbs]
        names += [Path(name).name] * len(verbs)
    # In one process, which can be killed: SQLite, waiting for a pipe, hears no other signal.
    done = subprocess.run(
        [sys.executable, "-c", TYPED], input=json.dumps(typed),
        capture_output=True, text=True, timeout=_PATIENCE_SECONDS, check=False,
    )  # fmt: skip
    told = re.split(r"^(\d+|null)\n", done.stderr, flags=re.MULTILINE)
    assert len(told) == 2 * len(typed) + 1, done.stderr
    for arguments, name, text, code in zip(typed, names, told[::2], told[1::2], strict=False):
        known = {ExitCode.USAGE, ExitCode.ENVIRONMENT, ExitCode.LEDGER}
        assert int(code) in known, (arguments, text)
        assert name in text, arguments


@pytest.mark.parametrize("name", ["configs/instruments.toml", READ[-1]])
def test_what_is_too_large_is_not_read(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    planted = _planted(made, tmp_path / "w", name)
    planted.touch()
    os.truncate(planted, 65 << 20)
    told = Here(Workspace(tmp_path / "w"), capsys)("next", "--yes")
    assert told.code in (ExitCode.ENVIRONMENT, ExitCode.LEDGER)
    assert f"{planted}" in told.err
    assert "it is larger than 64 MiB" in told.err


@pytest.mark.parametrize("name", LEDGER)
def test_a_link_in_the_place_of_the_ledger_is_refused_by_every_verb(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    planted = _planted(made, tmp_path / "w", name)
    outside = tmp_path / "outside"
    outside.mkdir()
    shutil.copy(made / "ledger.db", outside / "precious")
    planted.symlink_to(outside / "precious")
    before = digest(outside)
    here = Here(Workspace(tmp_path / "w"), capsys)
    for verb in (["next", "--yes"], ["confirm", "--all"], ["status"], ["ledger", "verify"]):
        told = here(*verb)
        assert told.code == ExitCode.ENVIRONMENT, told
        assert f"{planted} is a symbolic link to" in told.err
    assert digest(outside) == before
