"""Replaying a ledger of 10,000 events: every verdict, state and document worked out anew."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from benchmarks.bench_report import _run
from benchmarks.goal import Goal
from reactivate.campaign.criteria import gate_criteria
from reactivate.campaign.edition import edition_data
from reactivate.checklist.model import Checklist
from reactivate.checklist.parse import load
from reactivate.evidence import Check, Measurement
from reactivate.gate.judge import judge_all
from reactivate.gate.judgement import Judgement
from reactivate.ledger.records import DecisionDraft
from reactivate.ledger.store import Ledger
from reactivate.report.decision_log import write_log
from reactivate.workspace import Workspace, create

_EVENTS = 10_000
_A_ROUND = 8
_CHECKLIST = """\
# Refused again and again

## Minimal build

```toml phase
kind = "baseline"
workload = ["posix"]
```

### Gate: baseline

- [ ] Leaves room: `stack.peak <= 25% of stack.limit`
- [ ] Memory: `rss.peak <= 64 MiB`
- [ ] Time: `latency.p50 <= 10 ms`

## One

```toml component
id = "vector_storage"
risk = "low"
workload = ["posix"]
```

### Gate: baseline

- [ ] Leaves room: `stack.peak <= 25% of stack.limit`

### Gate: trace

- [ ] No deep recursion: `stack.recursion <= 100`

### Gate: overflow

- [ ] Survives: `overflow.crashes == 0`
"""


def goals() -> list[Goal]:
    """A campaign that is refused and tried again, with a document for each decision."""
    with tempfile.TemporaryDirectory() as folder:
        workspace = create(Path(folder) / "w", "model")
        (workspace.checklists / "long.md").write_text(_CHECKLIST, encoding="utf-8")
        (workspace.configs / "campaign.toml").write_text(
            'target = "model"\nchecklist = "checklists/long.md"\n', encoding="utf-8"
        )
        _fill(workspace)
        seconds, memory = _run(workspace, "ledger", "replay", "--json")
    name = f"replay, {_EVENTS:,} events"
    return [
        Goal(name=name, measured=seconds, limit=5.0, unit="s"),
        Goal(name=f"{name}: memory", measured=memory, limit=300.0, unit="MiB"),
    ]


def _fill(workspace: Workspace) -> None:
    checklist = load(workspace.checklists / "long.md")
    environment = {"checklist_sha256": checklist.sha256, "kernel": "benchmark"}
    with Ledger.open(workspace.ledger, writer=True) as ledger:
        ledger.append("campaign_started", "", {**edition_data(checklist, "checklists/long.md")})
        ledger.append("prepared", "baseline", {})
        for number in range(_EVENTS // _A_ROUND):
            _round(ledger, checklist, environment, number)
        write_log(ledger, workspace.decisions)


def _round(ledger: Ledger, checklist: Checklist, environment: dict[str, str], number: int) -> None:
    """Built, proven, measured, refused, tried again."""
    built = ledger.begin_attempt("baseline", "activate", environment)
    proof = {"artifact_sha256": "a", "configuration_sha256": "c", "components": [], "witness": "w"}
    ledger.finish(built, "advanced", events=[("activated", proof)])
    measured, judged = _judged(checklist, number)
    failed = [j.criterion for j in judged if j.verdict.value == "fail"]
    verdicts = {j.criterion: j.verdict.value for j in judged}
    attempt = ledger.begin_attempt("baseline", "baseline", environment)
    refused = DecisionDraft(
        kind="refused", phase="baseline", reason=f"{len(failed)} failed", who="gate",
        event=("refused", {"check": "baseline", "failed": failed}),
    )  # fmt: skip
    ledger.finish(
        attempt, "refused", measurements=measured, judgements=judged, decisions=[refused],
        events=[("checked", {"check": "baseline", "verdicts": verdicts})],
    )  # fmt: skip
    retried = {"who": "bench", "reason": "again"}
    ledger.decide(
        DecisionDraft(kind="retried", phase="baseline", reason="again", who="bench",
                      event=("retried", retried))
    )  # fmt: skip


def _judged(checklist: Checklist, number: int) -> tuple[list[Measurement], tuple[Judgement, ...]]:
    operations = ("read", "write", "mkdir", "create", "rename", "unlink", "stat", "readdir")
    measured = [
        Measurement(metric="stack.peak", value=(3 << 20) + number, instrument="watermark",
                    operation=operation, thread="main", samples=tuple(range(25)))
        for operation in operations
    ]  # fmt: skip
    measured += [
        Measurement(metric="latency.p50", value=90_000 + number, instrument="latency",
                    operation=operation, samples=tuple(range(90_000, 90_030)))
        for operation in operations
    ]  # fmt: skip
    measured += [
        Measurement(metric="stack.limit", value=8 << 20, instrument="watermark", thread="main"),
        Measurement(metric="rss.peak", value=20 << 20, instrument="memory"),
    ]
    criteria = gate_criteria(checklist, checklist.phase("baseline"), Check.BASELINE)
    return measured, judge_all(criteria, measured, {})


if __name__ == "__main__":
    print(json.dumps([[goal.name, goal.measured] for goal in goals()], indent=1))
