"""`reactivate export` hands the ledger on, to a file or a pipe."""

from __future__ import annotations

import json
import subprocess

import pytest
from prometheus_client.parser import text_string_to_metric_families

from reactivate.errors import ExitCode
from tests.cli.workspaces import Here
from tests.report.hostile import build


@pytest.fixture
def measured(here: Here) -> Here:
    build(here.root)
    return here


def test_standard_output_is_the_export_and_nothing_else(measured: Here) -> None:
    result = measured("export", "--format", "json")
    assert result.code == ExitCode.DONE
    assert result.json()["schema"] == "reactivate.export/1"
    assert result.err == ""
    families = text_string_to_metric_families(measured("export", "--format", "prometheus").out)
    assert "reactivate_stack_operation_bytes" in {family.name for family in families}


def test_a_file_has_the_same_bytes(measured: Here) -> None:
    for form in ("json", "csv", "prometheus", "folded"):
        out = measured.root / f"out.{form}"
        assert measured("export", "--format", form, "--out", str(out)).code == ExitCode.DONE
        assert out.read_text(encoding="utf-8") == measured("export", "--format", form).out
        assert "\x1b" not in out.read_text(encoding="utf-8")


def test_what_was_not_exported_is_said(measured: Here) -> None:
    (measured.root / "results/search/attempt-002/deepest/deepest-op.json").unlink()
    result = measured("export", "--format", "folded")
    assert result.code == ExitCode.DONE
    assert "search/attempt-002/deepest/deepest-op.json is missing" in result.err
    out = str(measured.root / "x")
    said = measured("export", "--format", "folded", "--out", out, "--json").json()
    assert said["not_exported"] == ["search/attempt-002/deepest/deepest-op.json is missing"]
    assert said["size_bytes"] > 0


def test_an_unknown_format_and_json_without_a_file_are_usage_errors(measured: Here) -> None:
    result = measured("export", "--format", "jsn")
    assert result.code == ExitCode.USAGE
    assert "did you mean `json`" in result.err
    assert measured("export", "--format", "csv", "--json").code == ExitCode.USAGE
    assert measured("export").code == ExitCode.USAGE


def test_an_empty_ledger_has_a_document_and_no_chains(here: Here) -> None:
    document = json.loads(here("export", "--format", "json").out)
    assert document["measurements"] == []
    result = here("export", "--format", "folded")
    assert result.code == ExitCode.INCONCLUSIVE
    assert result.out == ""


def test_a_terminal_without_utf8_and_a_closed_pipe_do_no_harm(measured: Here) -> None:
    process = measured.process("export", "--format", "folded", PYTHONIOENCODING="ascii")
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (ExitCode.DONE, "")
    assert "search;" in out
    process = measured.process("export", "--format", "json")
    assert process.stdout is not None and process.stderr is not None
    process.stdout.close()
    said = process.stderr.read()
    try:
        process.wait(timeout=60)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    finally:
        process.stderr.close()
    assert "Traceback" not in said
