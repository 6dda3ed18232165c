"""`reactivate checklist`: lint a checklist, see it as the machine sees it, list the metrics."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from reactivate.cli.console import emit_json, say
from reactivate.cli.light import add_group, add_verb
from reactivate.cli.state import State
from reactivate.cli.table import print_table

if TYPE_CHECKING:
    from reactivate.checklist.model import Phase

File = Annotated[
    Path | None, typer.Argument(help="A checklist; default: the workspace's.", show_default=False)
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def register(app: typer.Typer) -> None:
    """Add the verbs."""
    group = add_group(app, "checklist", "Check a checklist, or see it as the machine does.")
    add_verb(group, check, example="reactivate checklist check checklists/vexfs.md")
    add_verb(group, show, example="reactivate checklist show --mermaid")
    add_verb(group, metrics, example="reactivate checklist metrics")


def _path(ctx: typer.Context, file: Path | None) -> Path:
    state: State = ctx.obj
    return file if file is not None else state.workspace().settings().checklist


def check(ctx: typer.Context, file: File = None, as_json: Json = False) -> None:
    """Report every fault with its place. Runs nothing."""
    from reactivate.checklist.parse import load

    checklist = load(_path(ctx, file))
    criteria = sum(len(phase.criteria) for phase in checklist.phases)
    items = sum(len(phase.before) + len(phase.after) for phase in checklist.phases)
    if as_json:
        emit_json(
            "reactivate.checklist.check/1",
            {
                "path": checklist.path,
                "sha256": checklist.sha256,
                "phases": len(checklist.phases),
                "criteria": criteria,
                "items": items,
                "faults": [],
            },
        )
        return
    say(
        f"{checklist.path}: {len(checklist.phases)} phases, {criteria} criteria, "
        f"{items} items for people, no faults"
    )
    say("next: reactivate checklist show")


def show(
    ctx: typer.Context,
    file: File = None,
    mermaid: Annotated[bool, typer.Option("--mermaid", help="Only the diagram's text.")] = False,
    as_json: Json = False,
) -> None:
    """Phases, gates and criteria, and the state diagram."""
    from reactivate.checklist import diagram
    from reactivate.checklist.parse import load

    checklist = load(_path(ctx, file))
    if as_json:
        emit_json(
            "reactivate.checklist.show/1",
            {
                "path": checklist.path,
                "title": checklist.title,
                "sha256": checklist.sha256,
                "phases": [_phase_json(phase) for phase in checklist.phases],
                "mermaid": diagram.mermaid(checklist),
            },
        )
        return
    if mermaid:
        typer.echo(diagram.mermaid(checklist))
        return
    say(f"{checklist.title} · {checklist.path}", style="bold")
    for number, phase in enumerate(checklist.phases, start=1):
        needs = f" · needs {', '.join(phase.needs)}" if phase.needs else ""
        risk = f" · risk {phase.risk}" if phase.risk else ""
        say()
        say(f"{number}. {phase.id} ({phase.kind}){risk}{needs}")
        print_table(["", ""], _phase_rows(phase), indent=5)
    say()
    typer.echo(diagram.mermaid(checklist))
    say("next: reactivate next")


def _phase_rows(phase: Phase) -> list[list[str]]:
    return [
        *(["before", item.text] for item in phase.before),
        *([criterion.check.value, criterion.source] for criterion in phase.criteria),
        *(["after", item.text] for item in phase.after),
    ]


def _phase_json(phase: Phase) -> dict[str, Any]:
    return {
        "id": phase.id,
        "kind": phase.kind,
        "title": phase.title,
        "line": phase.line,
        "needs": phase.needs,
        "risk": phase.risk,
        "workload": phase.workload,
        "before": [{"id": i.id, "text": i.text, "line": i.line} for i in phase.before],
        "criteria": [
            {"id": c.id, "check": c.check, "source": c.source, "text": c.text, "line": c.line}
            for c in phase.criteria
        ],
        "after": [{"id": i.id, "text": i.text, "line": i.line} for i in phase.after],
    }


def metrics(as_json: Json = False) -> None:
    """Every metric that a criterion may name."""
    from reactivate.metrics import METRICS

    rows: list[dict[str, Any]] = [
        {
            "name": metric.name,
            "unit": metric.dimension.value,
            "checks": [check.value for check in sorted(metric.checks)],
            "per_operation": metric.per_operation,
            "instrument": metric.instrument,
            "meaning": metric.meaning,
        }
        for metric in METRICS.values()
    ]
    if as_json:
        emit_json("reactivate.checklist.metrics/1", {"metrics": rows})
        return
    print_table(
        ["metric", "unit", "gate", "instrument", "meaning"],
        [
            [r["name"], r["unit"], ", ".join(r["checks"]), r["instrument"], r["meaning"]]
            for r in rows
        ],
    )
    say("next: reactivate checklist check")
