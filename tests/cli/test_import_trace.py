"""`reactivate import-trace` in a workspace with attempts on record."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from reactivate.errors import ExitCode
from reactivate.ledger import AttemptStatus, Ledger
from tests.cli.workspaces import Here, begun


def lines(at: datetime) -> str:
    stamp = at.strftime("%H:%M:%S")
    return (
        f"[{stamp}] VexFS: vexfs_search() called by PID=7 (c)\n"
        f"[{stamp}] VexFS COMPLETE: vexfs_search() latency=3 μs, results=1\n"
        "\x1b[31mnot ours\n"
    )


def an_attempt(here: Here) -> datetime:
    with Ledger.open(here.workspace.ledger, writer=True) as ledger:
        attempt = ledger.begin_attempt("baseline", "trace", {"kernel": "k"})
        ledger.finish(attempt, "advanced", events=[])
        (found,) = ledger.attempts(status=AttemptStatus.FINISHED)
    return datetime.fromisoformat(found.started_at)


def test_a_trace_is_on_record_beside_the_run_in_whose_time_it_falls(
    here: Here, tmp_path: Path
) -> None:
    begun(here.workspace)
    at = an_attempt(here).astimezone(UTC)
    path = tmp_path / "trace.txt"
    path.write_text(lines(at))
    arguments = ["import-trace", str(path), "--utc", "--date", at.date().isoformat()]
    told = here(*arguments)
    assert told.code == ExitCode.DONE, told
    assert "during baseline trace, attempt 1: 2 lines (vexfs_search 2)" in told.out
    assert "1 lines were not understood" in told.out
    assert "\x1b" not in told.out
    found = here(*arguments, "--json").json()
    assert found["functions"]["vexfs_search"]["latency_p99_ns"] == 3_000
    assert found["overlaps"][0]["lines"] == {"vexfs_search": 2}
    # On record with its file, and not in the way of the campaign.
    with Ledger.open(here.workspace.ledger, writer=False) as ledger:
        first, second = ledger.attempts("imported")
        values = {m.metric: m.value for m in ledger.measurements(second.id)}
        names = {artifact.path for artifact in ledger.artifacts(first.id)}
    assert values["imported.calls"] == 1
    assert names == {"imported.json", "trace.txt"}
    assert here("status").code == ExitCode.DONE
    moved = here("history", "imported.latency.max")
    assert "vexfs_search" in moved.out


def test_a_trace_of_another_time_is_on_record_alone(here: Here, tmp_path: Path) -> None:
    begun(here.workspace)
    path = tmp_path / "trace.txt"
    path.write_text(lines(an_attempt(here)))
    told = here("import-trace", str(path), "--utc", "--date", "2001-01-01")
    assert told.code == ExitCode.DONE
    assert "into the time of no attempt" in told.out
    assert here("import-trace", str(path), "--date", "soon").code == ExitCode.USAGE
    path.write_text("nothing\n")
    refused = here("import-trace", str(path))
    assert refused.code == ExitCode.USAGE
    assert "1 lines are of another form" in refused.err
