"""Exports are read back by the programs they are for, and hold what the ledger holds."""

from __future__ import annotations

import csv
import io
import json
import re
import sqlite3
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from reactivate.errors import MeasurementError, WorkspaceError
from reactivate.evidence import Measurement
from reactivate.ledger import Ledger, utc_now
from reactivate.ledger.provoked import ProvokedLedger
from reactivate.report.analysis.reader import KEYS, LedgerReader
from reactivate.report.export import provoked
from reactivate.report.export.document import SCHEMA, TABLES
from reactivate.report.export.flat import COLUMNS
from reactivate.report.export.folded import stack_lines
from reactivate.report.export.write import Format, export, write_file
from reactivate.texts import visible
from tests.report.hostile import HOSTILE, build


@pytest.fixture
def root(tmp_path: Path) -> Path:
    build(tmp_path)
    return tmp_path


def text(root: Path, wanted: Format, missing: list[str] | None = None) -> str:
    with LedgerReader.opened(root / "ledger.db") as reader:
        return "".join(export(reader, root / "results", wanted, [] if missing is None else missing))


def rows(root: Path, table: str) -> list[sqlite3.Row]:
    connection = sqlite3.connect(root / "ledger.db")
    connection.row_factory = sqlite3.Row
    with connection:
        found = connection.execute(f"SELECT * FROM {table} ORDER BY 1").fetchall()
    connection.close()
    return found


def test_json_holds_every_row_of_every_table(root: Path) -> None:
    document = json.loads(text(root, Format.JSON))
    assert document["schema"] == SCHEMA
    assert set(document) == {"schema", "metrics", "environments", *KEYS}
    for table in TABLES:
        found = rows(root, table)
        assert len(document[table]) == len(found) > 0
        for exported, row in zip(document[table], found, strict=True):
            for column in row.keys():  # noqa: SIM118 - iterating gives values
                value = row[column]
                if column in ("samples", "context", "data") and isinstance(value, str):
                    value = json.loads(value)
                elif column == "unattended":
                    value = bool(value)
                assert exported[column] == value
                assert type(exported[column]) is type(value)


def test_the_documented_schema_is_the_written_one(root: Path, project_root: Path) -> None:
    page = (project_root / "docs" / "exports.md").read_text(encoding="utf-8")
    document = json.loads(text(root, Format.JSON))
    for name in ("metrics", "environments", *TABLES):
        (members,) = re.findall(rf"^\| `{name}` \| (.*?) \|", page, re.MULTILINE)
        assert re.findall(r"`(\w+)`", members) == list(document[name][0]), name
    listed = re.findall(r"^Columns: (.*)$", page, re.MULTILINE)
    assert [tuple(re.findall(r"`(\w+)`", each)) for each in listed] == [COLUMNS, provoked.COLUMNS]
    assert SCHEMA in page


def test_csv_has_a_line_for_every_measurement_and_no_formula(root: Path) -> None:
    with Ledger.open(root / "ledger.db", writer=True) as ledger:
        attempt = ledger.begin_attempt("search", "baseline", {})
        measured = Measurement(metric="m", value=-7, instrument="=cmd()", operation="-op")
        ledger.finish(attempt, "advanced", measurements=[measured])
    found = list(csv.DictReader(io.StringIO(text(root, Format.CSV))))
    assert len(found) == len(rows(root, "measurements"))
    last = found[-1]
    assert (last["value"], last["instrument"], last["operation"]) == ("-7", "'=cmd()", "'-op")
    first = found[0]
    assert first["operation"] == visible(HOSTILE)
    assert first["evidence"] == "baseline/attempt-001/watermark/water mark.json"
    missing = [each for each in found if each["not_measured"]]
    assert missing
    assert {each["value"] for each in missing} == {""}


def test_the_csv_of_what_was_run_by_hand_has_no_formula_and_no_control_character(
    root: Path,
) -> None:
    for text_of_it in ("=1+1", "+1", "-1", "@x"):
        with ProvokedLedger.open(root / "ledger.db", writer=True) as ledger:
            step = {"label": "x", "number": text_of_it, "ending": text_of_it}
            ledger.provoked(
                {"scenario": text_of_it, "steps": [step]}, outcome="unexpected", environment={},
                folder="overflow/other", artifacts=(), started=utc_now(),
            )  # fmt: skip
    found = text(root, Format.PROVOKED)
    assert not set(found) & set("\x1b\x07\u202e\u200b\x00\t")
    listed = list(csv.DictReader(io.StringIO(found)))
    assert [row["scenario"] for row in listed] == [visible(HOSTILE), "'=1+1", "'+1", "'-1", "'@x"]
    assert listed[0]["died_of"] == listed[0]["class_evidence"] == visible(HOSTILE)
    assert listed[0]["evidence"] == "overflow/by hand/by hand.json"
    assert all(
        not str(cell).startswith(("=", "+", "-", "@")) for r in listed for cell in r.values()
    )


def test_prometheus_reads_it(root: Path) -> None:
    families = {f.name: f for f in text_string_to_metric_families(text(root, Format.PROMETHEUS))}
    depth = families["reactivate_stack_operation_bytes"]
    assert depth.type == "gauge"
    values = {s.labels["phase"]: s for s in depth.samples}
    assert {phase: s.value for phase, s in values.items()} == {"baseline": 3000, "search": 3900}
    assert values["search"].labels["operation"] == visible(HOSTILE)
    seconds = families["reactivate_latency_p50_seconds"].samples
    assert {s.value for s in seconds} == {1.5e-6, 1e-6}
    assert "reactivate_rss_peak_bytes" not in families
    assert sum(s.value for s in families["reactivate_not_measured"].samples) == 2
    verdicts = families["reactivate_verdict"].samples
    assert sorted(s.labels["verdict"] for s in verdicts) == ["fail", *["pass"] * 5]
    for family in families.values():
        keys = [tuple(sorted(s.labels.items())) for s in family.samples]
        assert len(set(keys)) == len(keys), family.name


def test_the_dashboard_asks_for_metrics_that_exist(root: Path, project_root: Path) -> None:
    path = project_root / "docs" / "export" / "grafana-dashboard.json"
    dashboard = json.loads(path.read_text(encoding="utf-8"))
    asked = {
        name
        for panel in dashboard["panels"]
        for target in panel["targets"]
        for name in re.findall(r"reactivate_\w+", target["expr"])
    }
    from reactivate.metrics import BUILT_IN_METRICS
    from reactivate.report.export.prometheus import metric_name

    own = {"reactivate_not_measured", "reactivate_verdict", "reactivate_ledger_rows"}
    assert asked
    assert asked <= own | {metric_name(name) for name in BUILT_IN_METRICS}


def test_folded_lines_add_up_to_the_bytes_of_the_chain(root: Path) -> None:
    lines = text(root, Format.FOLDED).splitlines()
    found: dict[tuple[str, str], int] = {}
    for line in lines:
        stack, _, size = line.rpartition(" ")
        frames = stack.split(";")
        found[frames[0], frames[1][:5]] = found.get((frames[0], frames[1][:5]), 0) + int(size)
        assert line.isprintable()
    start = visible(HOSTILE)[:5]
    assert found["baseline", start] == 3140
    assert found["search", start] == 4040
    assert found["search", "death"] == 512
    # Outermost first, and a semicolon in a name begins no frame.
    deepest = max((x for x in lines if x.startswith("search;<scri")), key=lambda x: x.count(";"))
    assert deepest.endswith("leaf:semi 40")
    assert deepest.split(";")[3] == "main"


def test_a_changed_chain_is_not_exported_but_named(root: Path) -> None:
    (root / "results/search/attempt-002/deepest/deepest-op.json").write_text("{}")
    missing: list[str] = []
    assert "search;<scri" not in text(root, Format.FOLDED, missing)
    assert missing == ["search/attempt-002/deepest/deepest-op.json is changed"]


def test_no_chain_at_all_is_not_an_empty_export(tmp_path: Path) -> None:
    with pytest.raises(MeasurementError, match="no call chain"):
        text(tmp_path, Format.FOLDED)


def test_a_very_long_chain_stays_small_and_keeps_its_bytes() -> None:
    chain = [(f"f{n % 7}", 16) for n in range(100_000)]
    lines = list(stack_lines(["a"], chain))
    assert sum(int(line.rpartition(" ")[2]) for line in lines) == 1_600_000
    assert len(lines) < 1000


def test_rows_come_in_portions_and_nothing_that_came_later(root: Path) -> None:
    with Ledger.open(root / "ledger.db", writer=True) as ledger:
        attempt = ledger.begin_attempt("search", "baseline", {})
        many = [Measurement(metric="m", value=n, instrument="i") for n in range(5_000)]
        ledger.finish(attempt, "advanced", measurements=many)
    with LedgerReader.opened(root / "ledger.db") as reader:
        last = reader.last("measurements")
        found = reader.rows("measurements", up_to=last)
        first = next(found)["id"]
        # A writer is not kept out while an export is half way, and its rows are not in it.
        with Ledger.open(root / "ledger.db", writer=True) as ledger:
            attempt = ledger.begin_attempt("search", "baseline", {})
            late = Measurement(metric="late", value=1, instrument="i")
            ledger.finish(attempt, "advanced", measurements=[late])
        rest = [row["id"] for row in found]
    assert [first, *rest] == list(range(1, last + 1))


def test_a_file_is_whole_or_not_there(tmp_path: Path) -> None:
    path = tmp_path / "out.json"

    def breaks() -> object:
        yield "half"
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        write_file(breaks(), path)  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []
    assert write_file(["a", "b"], path) == 2
    with pytest.raises(WorkspaceError):
        write_file(["a"], tmp_path / "nowhere" / "out")


def test_datasette_metadata_names_what_is_there(root: Path, project_root: Path) -> None:
    path = project_root / "docs" / "export" / "datasette.json"
    database = json.loads(path.read_text(encoding="utf-8"))["databases"]["ledger"]
    connection = sqlite3.connect(root / "ledger.db")
    every = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
    internal = {"_sqlite_migrations", "sqlite_sequence"}
    assert {row[0] for row in every} - internal == set(database["tables"])
    for table, about in database["tables"].items():
        columns = {row[1] for row in connection.execute(f"PRAGMA table_info({table})")}
        assert set(about["columns"]) == columns, table
        for key in ("sort", "sort_desc", "label_column"):
            assert about.get(key, next(iter(columns))) in columns
        assert set(about.get("facets", [])) <= columns
    for name, query in database["queries"].items():
        sql = query["sql"]
        names = re.findall(r":(\w+)", sql)
        connection.execute(sql, dict.fromkeys(names, "search")).fetchall()
        assert query["title"], name
    connection.close()
