"""The same facts on a narrow terminal, and on one that has ASCII only."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios

import pytest

from reactivate.evidence import Measurement
from reactivate.ledger import Ledger
from tests.cli.workspaces import SET_UP, Here, begun

ASCII = {
    "LANG": "C", "LC_ALL": "C", "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0",
    "PYTHONCOERCECLOCALE": "0",
}  # fmt: skip
VERBS = (("status",), ("history", "stack.peak"), ("analyze", "--baseline"), ("report",))


def shown(here: Here, *arguments: str, columns: int = 40) -> str:
    """What a terminal of this width is sent by a command, in ASCII only."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    environment = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES")}
    process = subprocess.Popen(
        [sys.executable, "-m", "reactivate", "-C", str(here.root), *arguments],
        stdout=theirs, stderr=theirs, env={**environment, **ASCII, "NO_COLOR": "1"},
    )  # fmt: skip
    os.close(theirs)
    said = b""
    while True:
        try:
            portion = os.read(ours, 1 << 16)
        except OSError:  # the terminal's other end was closed
            break
        if not portion:
            break
        said += portion
    os.close(ours)
    assert process.wait(60) == 0, said
    return said.decode("ascii").replace("\r\n", "\n")


@pytest.mark.parametrize("arguments", VERBS, ids=lambda a: str(a[0]))
def test_ascii_and_forty_columns(here: Here, arguments: tuple[str, ...]) -> None:
    begun(here.workspace, steps=SET_UP)
    with Ledger.open(here.workspace.ledger, writer=True) as ledger:
        for depth in (5_000, 6_000_000):
            attempt = ledger.begin_attempt("baseline", "baseline", {"kernel": "Linux"})
            common = {"instrument": "watermark", "thread": "main"}
            measured = [
                Measurement(metric="stack.peak", value=depth, operation="search", **common),
                Measurement(metric="stack.limit", value=8 << 20, **common),
            ]
            ledger.finish(attempt, "advanced", measurements=measured)
    text = shown(here, *arguments)
    assert "Traceback" not in text
    assert "?" not in text
    if arguments[0] == "status":
        assert "#################" in text
    for line in text.splitlines():
        # A bar or a sparkline that goes on in the next line is no bar.
        assert len(line) <= 40 or not set(line) & set("#="), line


def test_a_bar_in_ascii_is_a_bar() -> None:
    from reactivate.cli.plain import HANDLER
    from reactivate.cli.status_view import bar

    assert bar(0.52).encode("ascii", HANDLER).rstrip() == b"############="
    assert "≤ 1 → 2 …é".encode("ascii", HANDLER) == b"<= 1 -> 2 ...?"


def test_json_stays_json_without_utf_8(here: Here) -> None:
    process = here.process("history", "stack.peak", "--component", "ü", "--json", **ASCII)
    out, _ = process.communicate(timeout=60)
    assert out.isascii()
    assert "\\u" in out
    assert "?" not in out
