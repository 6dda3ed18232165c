"""`log --check`: whether the written log is the ledger's."""

from __future__ import annotations

from reactivate.errors import ExitCode
from tests.cli.workspaces import Here, begun


def test_an_edited_log_ends_with_5_and_is_mended_by_write(here: Here) -> None:
    begun(here.workspace, steps=1)
    assert here("log", "--write").code == ExitCode.DONE
    same = here("log", "--check")
    assert (same.code, same.err) == (ExitCode.DONE, "")
    assert same.out.splitlines()[0] == "1 decision, every file is what the ledger renders"
    index = here.workspace.decisions / "README.md"
    ledgers = index.read_text()
    index.write_text(ledgers.replace("confirmed", "waived"))
    found = here("log", "--check")
    assert found.code == ExitCode.INCONCLUSIVE
    assert "docs/decisions/README.md: not what the ledger says" in found.out
    assert found.out.rstrip().splitlines()[-1] == "next: reactivate log --write"
    told = here("log", "--check", "--json")
    assert (told.code, told.json()["schema"]) == (ExitCode.INCONCLUSIVE, "reactivate.log.check/1")
    assert told.json()["changed"] == ["docs/decisions/README.md"]
    assert index.read_text() != ledgers  # a check writes nothing
    here("log", "--write")
    assert index.read_text() == ledgers
    assert here("log", "--check").code == ExitCode.DONE


def test_a_decision_that_nobody_took_is_named_with_its_remedy(here: Here) -> None:
    begun(here.workspace, steps=1)
    here("log", "--write")
    invented = here.workspace.decisions / "0099-vector_storage-advance.md"
    invented.write_text("# 0099")
    found = here("log", "--check")
    assert found.code == ExitCode.INCONCLUSIVE
    assert found.out.rstrip().splitlines()[-1] == f"next: rm {invented}"


def test_write_and_check_exclude_each_other(here: Here) -> None:
    begun(here.workspace)
    assert here("log", "--write", "--check").code == ExitCode.USAGE
