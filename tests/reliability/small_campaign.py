"""A campaign that has everything and takes seconds: the five-way daemon, one component."""

from __future__ import annotations

import shutil
from pathlib import Path

from reactivate.workspace import Workspace, create
from tests.target import fiveways

ROOM, NO_ROOM = "25% of stack.limit", "1 KiB"

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

- [ ] Leaves room: `stack.peak <= 25% of stack.limit`

## Storage

```toml component
id = "vector_storage"
risk = "low"
workload = ["posix"]
scenarios = ["small_disk"]
```

### Gate: baseline

- [ ] Leaves room: `stack.peak <= LIMIT`

### Gate: trace

- [ ] No deep recursion: `stack.recursion <= 100`

### Gate: overflow

- [ ] Survives: `overflow.crashes == 0`

### After

- [ ] The figures look right
"""

SCENARIO = """\
title = "A small disk, little memory"
category = "stress"
components = ["vector_storage"]
expect = "survives"

[[exercise]]
name = "suite"
suite = "posix"

[limits]
stack = ["1 MiB"]
memory = "64 MiB"
processes = 32
seconds = 60

[faults]
backing = "full"
after_bytes = "1 MiB"
"""
"""A control group, and a mount below the daemon's."""

INSTRUMENTS = """\
[watermark]
repeats = 1
[memory]
repeats = 1
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
[smallest_stack]
repeats = 1
most_runs = 1
"""

CAMPAIGN = 'target = "own"\nchecklist = "checklists/small.md"\nwho = "tester"\n'


def lay_out(folder: Path, *, whole: bool = True) -> Workspace:
    """A workspace FOLDER/w and the user's checkout FOLDER/user; what was there goes.

    The component is switched by a patch, so that the tool's copy of the source is in it, too.

    Args:
        whole: else the first gate of the component refuses, and that is the end.
    """
    for name in ("w", "user"):
        shutil.rmtree(folder / name, ignore_errors=True)
    user = fiveways.checkout(folder / "user")
    workspace = create(folder / "w", "model")
    fiveways.written(workspace.root, fiveways.text("patch", user, names=("vector_storage",)))
    for path, text in (
        (workspace.checklists / "small.md", CHECKLIST.replace("LIMIT", ROOM if whole else NO_ROOM)),
        (workspace.configs / "scenarios" / "small_disk.toml", SCENARIO),
        (workspace.configs / "instruments.toml", INSTRUMENTS),
        (workspace.configs / "campaign.toml", CAMPAIGN),
    ):
        path.write_text(text, encoding="utf-8")
    return workspace
