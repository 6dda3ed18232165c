"""Small workspaces for the command line's tests, and ways to run commands in them."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from reactivate.campaign.campaign import opened
from reactivate.cli.main import run
from reactivate.cli.progress import SilentReporter
from reactivate.ledger import Ledger
from reactivate.workspace import Workspace, create

PASSES = "stack.peak <= 25% of stack.limit"
REFUSES = "stack.peak <= 1 KiB"
"""No daemon that answers takes so little."""

CHECKLIST = """\
# Small passage

## Prerequisites

```toml phase
kind = "setup"
```

- [ ] Somebody reads this

## Minimal build

```toml phase
kind = "baseline"
workload = ["posix"]
```

### Gate: baseline

- [ ] Leaves room: `LIMIT`

### After

- [ ] The figures look right
- [ ] Nobody objects

### When a gate refuses

Look at the frames.

## Storage

```toml component
id = "vector_storage"
risk = "medium"
workload = ["posix", "vector"]
```

### Gate: baseline

- [ ] Leaves room: `stack.peak <= 25% of stack.limit`

### Gate: trace

- [ ] No deep recursion: `stack.recursion <= 100`

### Gate: overflow

- [ ] Survives: `overflow.crashes == 0`

## Together

```toml phase
kind = "integration"
workload = ["posix", "vector"]
```

### Gate: baseline

- [ ] Leaves room: `stack.peak <= 25% of stack.limit`

### Gate: trace

- [ ] No deep recursion: `stack.recursion <= 100`

### Gate: overflow

- [ ] Survives: `overflow.crashes == 0`
"""

INSTRUMENTS = """\
[watermark]
repeats = 2
[memory]
repeats = 2
[latency]
repeats = 2
max_repeats = 2
warmup = 0
[growth]
repeats = 1
[lifecycle]
repeats = 1
[deepest]
top = 1
"""


BINDFS = """\
title = "mirror"
artifact = "bindfs"
[run]
command = ["bindfs", "-f", "{backing}", "{mountpoint}"]
[[component]]
id = "vector_storage"
"""
"""A target that needs no build: the mirror of a folder."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """How a command ended, and what it said."""

    code: int
    out: str
    err: str

    def json(self) -> dict[str, Any]:
        """Standard output as the one JSON document that it must be."""
        document = json.loads(self.out)
        assert isinstance(document, dict)
        assert re.fullmatch(r"reactivate\.[a-z.]+/\d+", document["schema"])
        return document


class Here:
    """A workspace and its commands, run in this process as the console script would."""

    def __init__(self, workspace: Workspace, capture: pytest.CaptureFixture[str]) -> None:
        self.workspace = workspace
        self.root = workspace.root
        self._capture = capture

    def __call__(self, *arguments: str) -> Result:
        return in_process(["-C", str(self.root), *arguments], self._capture)

    def write(self, relative: str, text: str) -> Path:
        """Write a file of the workspace."""
        path = self.root / relative
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    def process(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        """Start a command as a process of its own."""
        return subprocess.Popen(
            command(["-C", str(self.root), *arguments]),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **environment},
            start_new_session=True,
        )

    def recorded(self) -> tuple[int, int, int]:
        """How many events, measurements and decisions the ledger holds."""
        with Ledger.open(self.workspace.ledger, writer=False) as ledger:
            counts = ledger.counts()
            return counts.events, counts.measurements, len(ledger.decisions())


Make = Callable[..., Here]
"""Makes a workspace; takes the options of `small`."""


def small(
    folder: Path, *, limit: str = PASSES, target: str | None = None, checklist: str = CHECKLIST
) -> Workspace:
    """A workspace with a short checklist, few repetitions and, if given, a target of its own.

    Args:
        limit: the criterion of the baseline phase.
        target: content of configs/targets/own.toml.
    """
    workspace = create(folder, "model")
    (workspace.checklists / "small.md").write_text(checklist.replace("LIMIT", limit))
    (workspace.configs / "instruments.toml").write_text(INSTRUMENTS)
    name = "model"
    if target is not None:
        name = "own"
        (workspace.configs / "targets" / "own.toml").write_text(target)
    (workspace.configs / "campaign.toml").write_text(
        f'target = "{name}"\nchecklist = "checklists/small.md"\nwho = "tester"\n'
    )
    return workspace


def begun(workspace: Workspace, *, steps: int = 0) -> None:
    """Begin the campaign and perform steps of it, items confirmed.

    Args:
        steps: 1 for the prerequisites, `SET_UP` until the minimal build is to be made.
    """
    with opened(workspace) as campaign:
        for _ in range(steps):
            campaign.step(who="tester", yes=True, reporter=SilentReporter())


SET_UP = 2


def command(arguments: Sequence[str]) -> list[str]:
    """The command line of a process that runs `reactivate ARGUMENTS`."""
    return [sys.executable, "-m", "reactivate", *arguments]


def in_process(arguments: Sequence[str], capture: pytest.CaptureFixture[str]) -> Result:
    """Run a command in this process; signal handlers are as before afterwards."""
    capture.readouterr()
    with _handlers_kept(), pytest.raises(SystemExit) as ended:
        run(arguments)
    said = capture.readouterr()
    code = ended.value.code
    return Result(code=code if isinstance(code, int) else 0, out=said.out, err=said.err)


@contextmanager
def _handlers_kept() -> Iterator[None]:
    kept = {
        number: signal.getsignal(number)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    }
    try:
        yield
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)
