"""`reactivate overflow` and the scenarios of a gate, as a user types them."""

from __future__ import annotations

import hashlib
import json
import signal
from pathlib import Path
from typing import Any

import pytest

from reactivate.errors import ExitCode
from reactivate.ledger import AttemptStatus, Ledger
from reactivate.ledger.provoked import provoked_notes
from tests.cli.test_interruption import assert_nothing_left, mounted, until
from tests.cli.workspaces import BINDFS, SET_UP, Here, Make, begun

SURVIVES = """
title = "Plain files"
category = "stress"
components = []
[[exercise]]
name = "suite"
suite = "posix"
[limits]
stack = ["STACK"]
seconds = 60
"""
OVERFLOWS = SURVIVES.replace("components", 'expect = "overflows"\ncomponents')

CHECKLIST = """\
# Small passage

## Minimal build

```toml phase
kind = "baseline"
workload = ["posix"]
scenarios = ["plain"]
```

### Gate: baseline

- [ ] Leaves room: `stack.peak <= 25% of stack.limit`

### Gate: overflow

- [ ] Survives: `overflow.crashes == 0`
- [ ] In time: `overflow.hangs == 0`
- [ ] Leaves room: `stack.margin(plain) >= 50%`

## Storage

```toml component
id = "vector_storage"
workload = ["vector"]
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
```

### Gate: baseline

- [ ] Leaves room: `stack.peak <= 25% of stack.limit`

### Gate: trace

- [ ] No deep recursion: `stack.recursion <= 100`

### Gate: overflow

- [ ] Survives: `overflow.crashes == 0`
"""


def test_the_list_names_every_scenario(make: Make) -> None:
    here = make()
    listed = here("overflow", "--list")
    assert listed.code == ExitCode.DONE
    names = {path.stem for path in (here.workspace.configs / "scenarios").glob("*.toml")}
    assert {"deep_recursion", "large_allocations"} <= names
    assert all(name in listed.out for name in names)
    assert {s["name"] for s in here("overflow", "--list", "--json").json()["scenarios"]} == names
    assert not list((here.workspace.results).glob("overflow/*"))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "overflow what?"),
        (["--scenario", "deep_recursio"], "did you mean"),
        (["--scenario", "deep_recursion", "--all-scenarios"], "exclude each other"),
        (["--scenario", "deep_recursion", "--component", "searching"], "no component `searching`"),
    ],
)
def test_2_bad_command_lines(make: Make, arguments: list[str], said: str) -> None:
    here = make()
    done = here("overflow", *arguments)
    assert done.code == ExitCode.USAGE
    assert said in done.err
    assert "[exit 2]\nnext: " in done.err or "[exit 2]\n" in done.err
    assert here("overflow", *arguments, "--json").json()["exit_code"] == ExitCode.USAGE


def test_2_a_bad_scenario_is_refused_with_its_line(make: Make) -> None:
    here = make()
    here.write("configs/scenarios/odd.toml", SURVIVES.replace("seconds = 60", 'second = "30"'))
    done = here("overflow", "--all-scenarios")
    assert done.code == ExitCode.USAGE
    assert "odd.toml:10" in done.err and "seconds" in done.err


@pytest.mark.fuse
@pytest.mark.root
def test_0_3_and_5_on_a_real_daemon(make: Make, needs_root: None, needs_fuse: None) -> None:
    here = make(target=BINDFS)
    for path in (here.workspace.configs / "scenarios").glob("*.toml"):
        path.unlink()
    here.write("configs/scenarios/plain.toml", SURVIVES.replace("STACK", "1 MiB"))
    done = here("overflow", "--scenario", "plain", "--least")
    assert done.code == ExitCode.DONE, done.err
    assert "1 of 1 scenarios as expected" in done.out
    assert "smallest stack: " in done.out and "the gap: " in done.out
    assert done.out.splitlines()[-1] == "next: reactivate status"
    assert done.err.count("not on record: this workspace has no ledger yet") == 2
    assert not here.workspace.ledger.exists()

    begun(here.workspace)
    here.write("configs/scenarios/starved.toml", SURVIVES.replace("STACK", "8 KiB"))
    here.write("configs/scenarios/blind.toml", OVERFLOWS.replace("STACK", "8 MiB"))
    both = here("overflow", "--all-scenarios", "--json")
    document = both.json()
    assert both.code == document["exit_code"] == ExitCode.REFUSED
    passed = {s["scenario"]: s["passed"] for s in document["scenarios"]}
    assert passed == {"plain": True, "starved": False, "blind": False}
    assert (document["recorded"], document["not_recorded"]) == (3, None)
    _on_record(here, document)

    with Ledger.open(here.workspace.ledger, writer=True):
        beside = here("overflow", "--scenario", "starved", "--json")
    assert beside.code == ExitCode.REFUSED
    shown = beside.json()
    assert shown["recorded"] == 0 and "is being written by process" in shown["not_recorded"]
    assert "not on record: ledger.db is being written by process" in beside.err

    # An error that the exercise does not allow: nothing is proven, neither way.
    here.write(
        "configs/scenarios/plain.toml",
        SURVIVES.replace("STACK", "1 MiB").replace(
            'name = "suite"\nsuite = "posix"', 'name = "errors"\nallow = ["ENOSPC"]'
        ),
    )
    unjudged = here("overflow", "--scenario", "plain")
    assert unjudged.code == ExitCode.INCONCLUSIVE, unjudged.out
    assert "[exit 5]" in unjudged.out
    assert "on record as run by hand; no gate counts it" in unjudged.out
    with Ledger.open(here.workspace.ledger, writer=False) as ledger:
        outcomes = [attempt.outcome for attempt in ledger.attempts()]
    assert outcomes == ["unexpected", "expected", "unexpected", "undecided"]
    assert here("ledger", "verify").code == ExitCode.DONE


def _on_record(here: Here, shown: Any) -> None:
    """What the command has shown, the ledger says, too."""
    with Ledger.open(here.workspace.ledger, writer=False) as ledger:
        notes: list[Any] = [event.data for event in provoked_notes(ledger)]
        kinds = {event.kind for event in ledger.events()}
    assert kinds == {"campaign_started", "attempt_started", "note", "attempt_finished"}
    for note, document in zip(notes, shown["scenarios"], strict=True):
        assert (note["scenario"], note["passed"]) == (document["scenario"], document["passed"])
        for step, full in zip(note["steps"], document["steps"], strict=True):
            assert {key: step[key] for key in ("ending", "text", "depth_bytes")} == {
                key: full[key] for key in ("ending", "text", "depth_bytes")
            }
            # Of what a daemon dies that has too little stack to be loaded is not always the same.
            assert (step["death"] is None) == (full["death"] is None)
            if step["death"] is not None:
                assert step["death"]["text"] == full["death"]["text"]
        files = {each["path"]: each["sha256"] for each in note["files"]}
        folder, name = Path(shown["folder"]), note["scenario"]
        there = [folder / f"{name}.json", *(p for p in (folder / name).rglob("*") if p.is_file())]
        assert files == {
            str(path.relative_to(here.root)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in there
        }
    assert any(step["death"] for note in notes for step in note["steps"])


@pytest.mark.fuse
@pytest.mark.root
def test_130_what_had_ended_is_on_record_and_nothing_of_the_rest(
    make: Make, needs_root: None, needs_fuse: None
) -> None:
    here = make(target=BINDFS)
    here.write("configs/scenarios/starved.toml", SURVIVES.replace("STACK", "8 KiB"))
    here.write(
        "configs/scenarios/long.toml",
        SURVIVES.replace("STACK", "1 MiB").replace("seconds = 30", "seconds = 600").replace(
            'name = "suite"\nsuite = "posix"', 'name = "endurance"\nrounds = 1000000'
        ),
    )  # fmt: skip
    begun(here.workspace)
    process = here.process("overflow", "--scenario", "starved", "--scenario", "long")
    try:
        until(lambda: recorded(here) and mounted(here), "the second one runs")
        other = here("confirm", "--all")
        assert other.code == ExitCode.LEDGER and f"process {process.pid} " in other.err
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == ExitCode.INTERRUPTED
    assert_nothing_left(here)
    assert recorded(here) == ["starved"]
    with Ledger.open(here.workspace.ledger, writer=False) as ledger:
        assert [a.status for a in ledger.attempts()] == [AttemptStatus.FINISHED]
    assert here("ledger", "verify").code == ExitCode.DONE


def recorded(here: Here) -> list[str]:
    with Ledger.open(here.workspace.ledger, writer=False) as ledger:
        return [str(event.data["scenario"]) for event in provoked_notes(ledger)]


@pytest.mark.fuse
@pytest.mark.root
def test_a_phase_runs_the_scenarios_that_it_names(
    make: Make, needs_root: None, needs_fuse: None
) -> None:
    here = make(target=BINDFS, checklist=CHECKLIST)
    here.write("configs/scenarios/plain.toml", SURVIVES.replace("STACK", "1 MiB"))
    begun(here.workspace, steps=SET_UP)
    steps = [here("next", "--yes", "--json").json()["steps"][0] for _ in range(3)]
    (overflow,) = [step for step in steps if "plain" in json.dumps(step)]
    verdicts = {v["source"]: (v["verdict"], v["operation"]) for v in overflow["verdicts"]}
    assert verdicts["overflow.hangs == 0"] == ("pass", "plain")
    assert verdicts["stack.margin(plain) >= 50%"] == ("pass", "plain")
    assert (here.root / overflow["evidence"] / "scenarios" / "plain.json").is_file()

    # The same with too little stack: refused, with the death on record.
    here = make(target=BINDFS, checklist=CHECKLIST)
    here.write("configs/scenarios/plain.toml", SURVIVES.replace("STACK", "8 KiB"))
    begun(here.workspace, steps=SET_UP)
    refused = here("next", "--until", "blocked", "--yes")
    assert refused.code == ExitCode.REFUSED, refused.out
    assert "overflow.crashes == 0" in refused.out
    assert "died during `mount`: stack 8,192 B: stack overflow of the main thread" in refused.out


@pytest.mark.fuse
def test_a_phase_that_names_no_scenario_of_the_workspace_is_refused(
    make: Make, needs_fuse: None
) -> None:
    here = make(target=BINDFS, checklist=CHECKLIST)
    begun(here.workspace, steps=1)
    done = here("next", "--until", "blocked", "--yes")
    assert done.code == ExitCode.USAGE
    assert "plain" in done.err and "reactivate overflow --list" in done.err
