"""`reactivate calibrate`, and what `doctor`, `status` and `next` make of what is on record."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from reactivate.campaign.calibrated import Standing, leant_on, standing
from reactivate.errors import ExitCode
from reactivate.instrument.watermark import Watermark
from reactivate.ledger import Ledger
from reactivate.run.environment import machine, tool_files
from tests.cli.workspaces import BINDFS, SET_UP, Here, Make, begun, in_process


def write(here: Here, instruments: Mapping[str, bool], **changed: str) -> None:
    """Put a calibration on record, as one of another day would stand there."""
    rows = [{"instrument": n, "trusted": t, "available": True} for n, t in instruments.items()]
    data: dict[str, Any] = {
        "at": "2026-01-02T03:04:05Z",
        "valid_for": {**machine(), **tool_files(), **changed},
        "instruments": rows,
    }
    with Ledger.open(here.workspace.ledger, writer=True) as ledger:
        ledger.append("calibrated", "", data)


def known(here: Here) -> Standing:
    with Ledger.open(here.workspace.ledger, writer=False) as ledger:
        return standing(ledger)


@pytest.mark.fuse
def test_it_is_kept_in_the_ledger_with_its_evidence(here: Here, needs_fuse: None) -> None:
    result = here("calibrate", "--only", "watermark", "--only", "memory")
    assert result.code == ExitCode.DONE, result.out + result.err
    assert "Linux" in result.out.splitlines()[0]
    assert "seen red" in result.out
    with Ledger.open(here.workspace.ledger, writer=False) as ledger:
        (event,) = ledger.events(kind="calibrated")
    assert {row["instrument"] for row in event.data["instruments"]} == {"watermark", "memory"}  # type: ignore[index,union-attr,call-overload]
    folder = here.root / str(event.data["evidence"])
    whole = json.loads((folder / "calibration.json").read_text())
    assert len(whole["instruments"][0]["series"][0]["each"]) > 10
    assert known(here).trusted == {"watermark", "memory"}
    assert not (here.workspace.run).exists() or not list(here.workspace.run.iterdir())
    # The campaign is where it was: not even begun.
    assert "setup" in here("status").out


def test_without_a_workspace_it_is_printed_and_not_kept(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    needs_fuse: None,
) -> None:
    monkeypatch.chdir(tmp_path)
    result = in_process(["calibrate", "--only", "watermark", "--json"], capsys)
    document = result.json()
    assert result.code == document["exit_code"] == ExitCode.DONE
    assert document["kept"] is False
    assert document["environment"]["kernel"].startswith("Linux")
    assert not list(tmp_path.iterdir())
    assert "no workspace" in in_process(["doctor", "--json"], capsys).json()["calibrated"]


@pytest.mark.fuse
def test_an_instrument_that_is_blind_ends_with_five(
    here: Here, needs_fuse: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def blind(self: Watermark, bench: object) -> tuple[()]:
        return ()

    monkeypatch.setattr(Watermark, "measure", blind)
    result = here("calibrate", "--only", "watermark")
    assert result.code == ExitCode.INCONCLUSIVE
    assert "watermark cannot be trusted here" in result.out
    assert known(here).trusted == frozenset()


def test_an_unknown_instrument_is_a_usage_error(here: Here) -> None:
    result = here("calibrate", "--only", "watermarc")
    assert result.code == ExitCode.USAGE
    assert "watermark" in result.err


# -- what it is worth later ----------------------------------------------------------------


def test_never_stale_and_current_are_told_apart(here: Here) -> None:
    begun(here.workspace)
    for verb in ("status", "doctor"):
        assert "calibrated: never. Run reactivate calibrate (about " in here(verb).out
    write(here, {"watermark": True, "growth": False})
    for verb in ("status", "doctor"):
        said = here(verb).out
        assert "calibrated: 2026-01-02 03:04 UTC, 1 instruments seen red" in said
        assert "not to be trusted: growth" in said
    write(here, {"watermark": True}, kernel="Linux 1.0", perf="another")
    for verb in ("status", "doctor"):
        assert "stale: kernel, perf changed since. Run reactivate calibrate." in here(verb).out
    assert here("status", "--json").json()["calibrated"] == known(here).text
    assert known(here).without(["watermark"]) == ("watermark",)


def test_a_later_one_of_some_instruments_leaves_the_others(here: Here) -> None:
    write(here, {"watermark": True, "memory": True})
    write(here, {"memory": False})
    assert known(here).without(["watermark", "memory"]) == ("memory",)


def test_a_gate_leans_on_those_who_measure_its_metrics() -> None:
    assert leant_on({"stack.peak", "stack.limit", "rss.peak"}) == ("memory", "watermark")


# -- what a check makes of it --------------------------------------------------------------


def measured(make: Make) -> Here:
    """A workspace whose next step is the baseline check of a mirror of a folder."""
    here = make(target=BINDFS)
    begun(here.workspace, steps=SET_UP + 1)
    return here


@pytest.mark.fuse
def test_a_check_says_that_its_instruments_were_never_seen_red(
    make: Make, needs_fuse: None
) -> None:
    here = measured(make)
    result = here("next")
    assert result.code == ExitCode.DONE, result.out + result.err
    assert result.out.count("Never seen red on this machine: watermark; reactivate calibrate") == 1
    assert here("confirm", "--all").code == ExitCode.DONE
    while (step := here("next")).code == ExitCode.DONE and "active" not in step.out:
        pass
    log = here("log", "--write")
    assert log.code == ExitCode.DONE
    pages = "".join(page.read_text() for page in here.workspace.decisions.rglob("*.md"))
    assert "baseline gate: not calibrated on this machine: watermark" in pages


@pytest.mark.fuse
def test_after_a_calibration_nothing_is_said(make: Make, needs_fuse: None) -> None:
    here = measured(make)
    write(here, {"watermark": True})
    result = here("next")
    assert result.code == ExitCode.DONE, result.out + result.err
    assert "calibrat" not in result.out
    assert "Never seen red" not in result.out


def test_where_it_is_required_the_check_does_not_run(make: Make, needs_fuse: None) -> None:
    here = measured(make)
    path = here.workspace.configs / "campaign.toml"
    path.write_text(path.read_text() + 'calibration = "required"\n')
    before = here.recorded()
    result = here("next")
    assert result.code == ExitCode.INCONCLUSIVE
    assert "reactivate calibrate" in result.err
    assert here.recorded() == before
    write(here, {"watermark": True})
    assert here("next").code == ExitCode.DONE


def test_another_word_for_calibration_is_refused_with_its_line(here: Here) -> None:
    path = here.workspace.configs / "campaign.toml"
    path.write_text(path.read_text() + 'calibration = "sometimes"\n')
    result = here("status")
    assert result.code == ExitCode.USAGE
    assert "campaign.toml:4: `calibration` must be one of advised, required" in result.err
