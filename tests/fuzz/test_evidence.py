"""Evidence files and rows that are not what they should be, under digests that fit."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sqlite3
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_campaigns import go_on, workspace_for

from reactivate.documents import parse_json, read_json
from reactivate.errors import ExitCode, MeasurementError
from reactivate.instrument.frozen_stack import read_record
from reactivate.ledger import codec
from reactivate.ledger.store import Ledger
from reactivate.report.decision_log import write_log
from reactivate.run.explain import read as read_explanation
from reactivate.workspace import Workspace
from tests.cli.workspaces import Result, in_process
from tests.fuzz.damage import SEEDS, answered, encoded, examples, texts
from tests.fuzz.documents import (
    CHAIN,
    CHAIN_TEXT,
    DEATH,
    VALUES,
    at,
    damaged,
    damaged_document,
    forge,
    ways,
    with_value,
)
from tests.report import hostile

_SEARCH = {
    "least_surviving_bytes": 8192,
    "runs": [{"limit_bytes": 4096, "death": {"kind": "overflow", "text": "it died"}}],
}
_OPCODES = {"opcodes": [{"opcode": "READ", "sent": 3, "failed": 1, "longest_ns": 5},
                        {"opcode": "WRITE", "sent": 9, "failed": 0, "longest_ns": 7}]}  # fmt: skip
_STEPS = hostile.scenario("died")
_STEPS["steps"] += [{**_STEPS["steps"][0], "parameter": "n", "value": n} for n in (1, 2.5)]  # type: ignore[operator,index]
_FILES: dict[str, tuple[tuple[str, str], ...]] = {
    "baseline": (("watermark/watermark.json", json.dumps({"seed": 1})),),
    "trace": (
        ("deepest/deepest-read.json", CHAIN_TEXT),
        ("lifecycle/lifecycle.json", json.dumps(_OPCODES)),
    ),
    "overflow": (
        ("scenarios/one.json", json.dumps(_STEPS)),
        ("smallest_stack/main.json", json.dumps(_SEARCH)),
    ),
}
_AT_ONCE = 4
READERS: tuple[list[str], ...] = (
    ["status"], ["ledger", "verify"], ["ledger", "replay"], ["log"], ["history", "stack.peak"],
    ["export", "--format", "json"], ["export", "--format", "csv"],
    ["export", "--format", "prometheus"], ["export", "--format", "folded"],
    ["report"],
    ["analyze", "--baseline", "--component", "vector_storage", "--stack-overflow-analysis"],
    ["compare", ":vector_storage", ":minimal_build"],
)  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Workspace, Path]:
    """A workspace whose attempts have evidence of every kind, and a copy of its ledger."""
    workspace = workspace_for(tmp_path_factory.mktemp("made") / "w")
    go_on(workspace, 1, steps=14, worst=True)
    forge(workspace.ledger, lambda connection: _lay_out(workspace, connection))
    shutil.rmtree(workspace.decisions)  # it names heads of the chain as it was
    with Ledger.open(workspace.ledger, writer=False) as ledger:
        write_log(ledger, workspace.decisions)
    told = {step for (step,) in _query(workspace.ledger, "SELECT DISTINCT step FROM attempts")}
    assert told >= _FILES.keys(), told
    kept = workspace.root.parent / "kept.db"
    shutil.copy(workspace.ledger, kept)
    return workspace, kept


def _query(ledger: Path, sql: str) -> list[tuple[Any, ...]]:
    connection = sqlite3.connect(ledger)
    try:
        return connection.execute(sql).fetchall()
    finally:
        connection.close()


def _lay_out(workspace: Workspace, connection: sqlite3.Connection) -> None:
    rows = connection.execute("SELECT id, step, folder FROM attempts WHERE status = 'finished'")
    for attempt, step, folder in rows.fetchall():
        for name, text in _FILES.get(step, ()):
            _put(workspace, connection, attempt, f"{folder}/", name, text)
        if step == "trace":
            connection.execute(
                "INSERT INTO measurements (attempt, metric, value, instrument, bound, role,"
                " operation, thread, samples, evidence, note) VALUES (?, 'requests.total', 12,"
                " 'lifecycle', 'exact', 'subject', '', '', '[]', 'lifecycle/lifecycle.json', '')",
                (attempt,),
            )


def _put(
    workspace: Workspace,
    connection: sqlite3.Connection,
    attempt: int,
    folder: str,
    name: str,
    text: str,
) -> None:
    """An evidence file, and the digest of it in the ledger."""
    path, raw = workspace.results / folder / name, encoded(text)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(raw)
    connection.execute("DELETE FROM artifacts WHERE attempt = ? AND path = ?", (attempt, name))
    connection.execute(
        "INSERT INTO artifacts (attempt, path, sha256, size_bytes, note) VALUES (?, ?, ?, ?, '')",
        (attempt, name, hashlib.sha256(raw).hexdigest(), len(raw)),
    )


def _ask(
    workspace: Workspace, capsys: pytest.CaptureFixture[str], verbs: Sequence[list[str]] = READERS
) -> dict[str, Result]:
    told = {}
    for verb in verbs:
        result = in_process(["-C", str(workspace.root), *verb], capsys)
        assert result.code != ExitCode.BUG and "Traceback" not in result.err, (verb, result)
        assert "\x1b" not in result.out + result.err, (verb, result)
        result.out.encode()
        told[" ".join(verb)] = result
    return told


def test_the_undamaged_campaign_is_read(
    made: tuple[Workspace, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    workspace, _ = made
    told = _ask(workspace, capsys)
    for verb in ("status", "log", "report", "history stack.peak", "ledger verify"):
        assert told[verb].code == ExitCode.DONE, told[verb]
    assert "walk" in told["export --format folded"].out
    analysis = (workspace.results / "analysis/component-vector_storage.md").read_text()
    assert "| `WRITE` | 9 | 75.0 % |" in analysis


def _damage_files(
    workspace: Workspace, connection: sqlite3.Connection, seed: int
) -> list[tuple[Path, str]]:
    """Damage evidence files; returns what was in which."""
    chance, undo = Random(seed), []
    rows = connection.execute("SELECT id, step, folder FROM attempts WHERE status = 'finished'")
    for attempt, step, folder in rows.fetchall():
        for name, text in _FILES.get(step, ()):
            if chance.random() < 0.5:
                undo.append((workspace.results / folder / name, text))
                hurt = damaged_document(text, chance.randrange(1 << 60))
                _put(workspace, connection, attempt, folder, name, hurt)
    return undo


@examples(0.2)
@given(seed=SEEDS)
def test_evidence_with_a_fitting_digest(
    seed: int, made: tuple[Workspace, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    workspace, kept = made
    undo: list[tuple[Path, str]] = []
    try:
        forge(workspace.ledger, lambda rows: undo.extend(_damage_files(workspace, rows, seed)))
        _ask(workspace, capsys, Random(seed).sample(READERS, _AT_ONCE))
    finally:
        for path, text in undo:
            path.write_text(text)
        shutil.copy(kept, workspace.ledger)


@pytest.mark.parametrize("value", ['"9"', "true"])
def test_a_number_of_another_type_is_not_measured(
    value: str, made: tuple[Workspace, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    workspace, kept = made
    ((attempt, folder), *_) = _query(
        kept, "SELECT id, folder FROM attempts WHERE step = 'trace' AND phase = 'vector_storage'"
    )
    name, real = _FILES["trace"][1]
    text = with_value(_OPCODES, ("opcodes", 1, "sent"), value)
    try:
        forge(workspace.ledger, lambda rows: _put(workspace, rows, attempt, folder, name, text))
        _ask(workspace, capsys, [["analyze", "--component", "vector_storage"]])
        told = (workspace.results / "analysis/component-vector_storage.md").read_text()
        assert "By opcode: not measured" in told and "75.0 %" not in told
    finally:
        (workspace.results / folder / name).write_text(real)
        shutil.copy(kept, workspace.ledger)


_COLUMNS = (
    ("events", "data"), ("decisions", "context"), ("environments", "content"),
    ("measurements", "samples"), ("measurements", "value"), ("verdicts", "observed"),
    ("verdicts", "limit"), ("verdicts", "interval_low"), ("attempts", "started_at"),
    ("attempts", "folder"), ("attempts", "phase"), ("attempts", "step"), ("events", "kind"),
    ("events", "at"), ("events", "phase"), ("decisions", "kind"), ("decisions", "who"),
    ("decisions", "at"), ("artifacts", "path"), ("measurements", "operation"),
    ("measurements", "evidence"), ("measurements", "metric"), ("verdicts", "criterion"),
    ("measurements", "bound"), ("verdicts", "verdict"), ("attempts", "number"),
    ("verdicts", "samples"), ("chain", "content"),
)  # fmt: skip
_CELLS: tuple[object, ...] = (
    float("inf"), float("-inf"), 1e308, -1, 0, 1 << 62, -(1 << 63), 0.5, "../../x", "/etc", "",
    "a" * 5000, "\x1b[2J", "2026-13-45", "2026-01-02T03:04:05.000006Z", "٣", b"\xff\xfe",
    "overflow", "trace", "refused", "attempt_started", "campaign_started",
    *(value for value in VALUES if value.isascii()),
)  # fmt: skip


def _damage_rows(connection: sqlite3.Connection, seed: int) -> None:
    chance = Random(seed)
    connection.execute("PRAGMA ignore_check_constraints = ON")
    for _ in range(chance.randrange(1, 3)):
        table, column = chance.choice(_COLUMNS)
        name = "sha256" if table == "environments" else "rowid"
        keys = connection.execute(f"SELECT {name} FROM {table} ORDER BY 1").fetchall()
        key, cell = chance.choice(keys), chance.choice(_CELLS)
        if column in ("data", "context", "content") and table != "chain" and cell in VALUES:
            ((text,),) = connection.execute(f"SELECT {column} FROM {table} WHERE {name} = ?", key)
            with suppress(ValueError):  # damaged once already
                document = json.loads(text)
                cell = with_value(document, chance.choice(list(ways(document))), str(cell))
        with suppress(sqlite3.IntegrityError):  # a column that takes no such thing
            connection.execute(f'UPDATE {table} SET "{column}" = ? WHERE {name} = ?', (cell, *key))


@examples(0.3)
@given(seed=SEEDS)
def test_rows_under_a_chain_that_fits(
    seed: int, made: tuple[Workspace, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    workspace, kept = made
    try:
        forge(workspace.ledger, lambda connection: _damage_rows(connection, seed))
        _ask(workspace, capsys, Random(seed).sample(READERS, _AT_ONCE))
    finally:
        shutil.copy(kept, workspace.ledger)


JSON: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(1 << 63), (1 << 64) - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@examples(5)
@given(value=JSON)
def test_what_json_says_is_read_as_it_was_written(value: Any) -> None:
    # An encoder that is not what the reader uses: every character escaped, no spaces.
    assert parse_json(json.dumps(value, separators=(",", ":")).encode()) == value


_REFUSED = {
    "not a number": b'{"a": NaN}', "without end": b'{"a": -Infinity}', "too large": b'{"a": 1e400}',
    "too long": b'{"a": 1' + b"0" * 400 + b"}", "no end of digits": b'{"a": ' + b"9" * 9999 + b"}",
    "twice": b'{"a": 1, "a": 2}', "twice within": b'[{"b": {"a": 1, "a": 1}}]',
    "UTF-16": '{"a": 1}'.encode("utf-16"), "no UTF-8": b'{"a": "\xff"}',
    "a mark": b"\xef\xbb\xbf{}",  "nothing": b"", "two": b"{} {}",
    "nested": b"[" * 65 + b"]" * 65, "nested deep": b"[" * 100_000 + b"]" * 100_000,
    "nested tables": b'{"a":' * 65 + b"1" + b"}" * 65, "cut": b'{"a": [1,', "a zero": b"[\0]",
}  # fmt: skip


@pytest.mark.parametrize("raw", _REFUSED.values(), ids=_REFUSED.keys())
def test_what_nothing_of_ours_writes_is_refused(raw: bytes, tmp_path: Path) -> None:
    path = tmp_path / "chain.json"
    path.write_bytes(raw)
    with pytest.raises(MeasurementError) as told:
        read_json(path)
    assert str(path) in told.value.what and told.value.why and told.value.hint
    assert told.value.exit_code is ExitCode.INCONCLUSIVE


def test_names_that_are_no_text_and_64_levels_are_read() -> None:
    assert parse_json(b'{"a": "\\udcff\\ud83d"}') == {"a": "\udcff\ud83d"}
    assert parse_json(b"[" * 64 + b"]" * 64)
    assert parse_json(b"[18446744073709551615, -9223372036854775808]")


@examples(3)
@given(text=damaged(CHAIN_TEXT) | texts([CHAIN_TEXT]))
def test_a_call_chain(text: str, tmp_path: Path) -> None:
    (tmp_path / "deepest-read.json").write_bytes(encoded(text))
    found = answered(lambda: read_explanation(tmp_path, "deepest-read.json"))
    for row in () if found is None else found.rows:
        assert type(row.size_bytes) is int and row.size_bytes >= 0 and type(row.location) is str


@pytest.mark.parametrize("value", ['"4040"', "true", "4040.0", "null", "-1", "[]"])
def test_no_number_comes_out_of_something_else(value: str, tmp_path: Path) -> None:
    numbers = [
        way
        for way in ways(CHAIN)
        if type(at(CHAIN, way)) is int and way[0] in ("folded", "total_bytes", "attributed_bytes")
        and way[-1] != "count"
    ]  # fmt: skip
    assert len(numbers) == 8
    for way in numbers:
        (tmp_path / "deepest-read.json").write_text(with_value(CHAIN, way, value))
        with pytest.raises(MeasurementError, match=r"deepest-read\.json"):
            read_explanation(tmp_path, "deepest-read.json")


@examples(3)
@given(text=damaged(DEATH) | texts([DEATH]))
def test_a_death(text: str, tmp_path: Path) -> None:
    path = tmp_path / "death.json"
    path.write_bytes(encoded(text))
    found = answered(lambda: read_record(path))
    if found is not None:
        assert (
            type(found.tid) is int
            and type(found.stack_end) is int
            and found.core.parent == tmp_path
        )


@examples(2)
@given(text=st.sampled_from(VALUES) | texts(VALUES))
def test_the_ledgers_own_reader(text: str) -> None:
    try:
        codec.load(text)
    except ValueError:
        return
    assert "NaN" not in text or '"' in text


@pytest.mark.parametrize("value", ['"7"', "true", "7.5", "-1", "[]"])
def test_no_part_of_a_death_comes_out_of_something_else(value: str, tmp_path: Path) -> None:
    document, path = json.loads(DEATH), tmp_path / "death.json"
    path.write_text(DEATH)
    assert read_record(path).tid == 7
    # The others are for people; the reader does not ask for them.
    unread = {"pid", "code", "instruction_pointer", "stack_start", "format"}
    numbers = [
        way for way in ways(document) if type(at(document, way)) is int and way[0] not in unread
    ]
    assert len(numbers) == 14
    for way in numbers:
        if way[0] in ("mappings", "files") and value == "-1":
            continue
        path.write_text(with_value(document, way, value))
        with pytest.raises(MeasurementError, match="death"):
            read_record(path)


def test_a_pipe_is_no_evidence(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "chain.json")
    with pytest.raises(MeasurementError) as told:
        read_json(tmp_path / "chain.json")
    assert told.value.why == "it is a named pipe, not a file"
