"""A small checklist without faults, and ways to break it."""

from __future__ import annotations

GOOD = """\
# Small passage

Some prose.

## Words

Nothing to run here.

## Prerequisites

```toml phase
kind = "setup"
```

- [x] Backups exist

## Minimal build

```toml phase
kind = "baseline"
workload = ["posix"]
```

### Gate: baseline

- [ ] Leaves room: `stack.peak <= 25% of stack.limit`

## Storage

```toml component
id = "storage"
risk = "medium"
workload = ["posix", "vector"]
```

### Before

- [ ] Large arrays are listed in `src/`
- [ ] Somebody *else* has read
      the change

### Gate: baseline

- [ ] Leaves room: `stack.peak <= 25% of stack.limit`
- [ ] Small: `stack.peak <= 1 MiB` on every thread

### Gate: trace

- [ ] No deep recursion: `stack.recursion <= 100`

### Gate: overflow

- [ ] Survives: `overflow.crashes == 0`

### After

- [ ] Written down

### When a gate refuses

Look at the arrays.

Then look again.

## Search

```toml component
id = "search"
needs = ["storage"]
risk = "very high"
workload = ["search"]
```

### Gate: baseline

- [ ] Not slower: `latency.p50 <= previous + 20%`

### Gate: trace

- [ ] No alert: `growth.alerts == 0`

### Gate: overflow

- [ ] Survives: `overflow.crashes == 0`

## Together

```toml phase
kind = "integration"
workload = ["posix", "vector", "search"]
```

### Gate: baseline

- [ ] Not larger: `rss.peak <= baseline + 50%`

### Gate: trace

- [ ] No alert: `growth.alerts == 0`

### Gate: overflow

- [ ] Survives: `overflow.crashes == 0`
"""


def line_of(text: str, part: str) -> int:
    return next(n for n, line in enumerate(text.split("\n"), start=1) if part in line)


def changed(old: str, new: str, text: str = GOOD) -> str:
    assert old in text
    return text.replace(old, new, 1)


def section(title: str) -> str:
    start = GOOD.index(f"## {title}\n")
    end = GOOD.find("\n## ", start)
    return GOOD[start : end + 1] if end > 0 else GOOD[start:] + "\n"
