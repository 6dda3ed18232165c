"""What the self-test runs on: the embedded filesystem, planted, and a checklist that must see it.

The search walks its index by calling itself, 1,300 times in the largest request. Each gate of the
checklist asks for one thing that this breaks and the iterative walk keeps.
"""

from __future__ import annotations

from typing import Final

from reactivate.evidence import Check

PHASE: Final = "search_engine"
"""The component that is planted."""

CULPRIT: Final = {
    Check.BASELINE: "stack.peak",
    Check.TRACE: "stack.recursion",
    Check.OVERFLOW: "overflow.crashes",
}
"""The metric that each gate must refuse."""

FAULT: Final = "search_engine.implementation", "recursive", "iterative"
"""The setting of the target, its planted value, and the one that mends it."""

CHECKLIST: Final = """\
# Self-test

## Minimal build

```toml phase
kind = "baseline"
workload = ["posix"]
```

### Gate: baseline

- [ ] Leaves room: `stack.peak <= 512 KiB`

## Search

```toml component
id = "search_engine"
risk = "high"
workload = ["search"]
```

### Gate: baseline

- [ ] Is not deep: `stack.peak <= 512 KiB`

### Gate: trace

- [ ] Does not call itself for every node: `stack.recursion <= 100`

### Gate: overflow

- [ ] Survives with a quarter of its stack: `overflow.crashes == 0`
"""

TARGET: Final = """\
title = "Planted model"
configuration = "configs/model.toml"
artifact = "{build}/libvexmodel.so"

[build]
commands = [[
    "make", "-C", "{probes}/model", "COMPONENTS=vector_storage {components}", "OUT={build}",
]]

[run]
command = [
    "{python}", "-m", "model", "{mountpoint}", "--library", "{build}/libvexmodel.so",
    "--config", "{configuration}", "--backing", "{backing}", "--component", "vector_storage",
]
for_each_component = ["--component", "{component}"]
mount_timeout_seconds = 20

[environment]
PYTHONPATH = "{probes}"
PYTHONDONTWRITEBYTECODE = ""

[[component]]
id = "search_engine"
"""

INSTRUMENTS: Final = """\
[watermark]
repeats = 2
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

CAMPAIGN: Final = """\
target = "planted"
checklist = "checklists/selftest.md"
who = "selftest"
"""
