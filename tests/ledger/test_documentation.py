"""docs/ledger.md is about this ledger: its tables, columns and queries are tried."""

from __future__ import annotations

import re
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from reactivate.ledger import Ledger, schema

from .material import build


@pytest.fixture
def document(project_root: Path) -> str:
    return (project_root / "docs" / "ledger.md").read_text(encoding="utf-8")


@pytest.fixture
def connection(path: Path) -> Iterator[sqlite3.Connection]:
    Ledger.open(path, writer=True).close()
    opened = sqlite3.connect(path)
    yield opened
    opened.close()


def test_every_column_is_explained_and_none_invented(
    document: str, connection: sqlite3.Connection
) -> None:
    explained = {
        name: re.findall(r"^\| `(\w+)` \| \S", body, flags=re.MULTILINE)
        for name, body in re.findall(r"^### ([a-z]+)\n(.*?)(?=^##|\Z)", document, re.M | re.S)
    }
    tables = connection.execute(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT GLOB '_*migrations'"
    ).fetchall()
    real = {
        name: [row[1] for row in connection.execute(f'PRAGMA table_info("{name}")')]
        for (name,) in tables
    }
    assert explained == real


def test_columns_that_may_be_null_say_so(document: str, connection: sqlite3.Connection) -> None:
    for name, body in re.findall(r"^### ([a-z]+)\n(.*?)(?=^##|\Z)", document, re.M | re.S):
        nullable = {
            row[1]
            for row in connection.execute(f'PRAGMA table_info("{name}")')
            if not row[3] and not row[5]
        }
        said = set(re.findall(r"^\| `(\w+)` \|.*NULL", body, flags=re.MULTILINE))
        assert said == nullable, name


def test_the_head_can_be_computed_from_this_page_alone(document: str, tmp_path: Path) -> None:
    (program,) = re.findall(r"```python\n(.*?)```", document, re.DOTALL)
    build(tmp_path / "whole.db", tmp_path / "results")
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "whole.db")],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    with Ledger.open(tmp_path / "whole.db", writer=False) as ledger:
        head = ledger.head()
    assert head is not None
    assert done.stdout == f"{head.seq}:{head.sha256}\n", done.stderr


def test_every_query_runs(document: str, connection: sqlite3.Connection) -> None:
    queries = re.findall(r"```sql\n(.*?)```", document, re.DOTALL)
    assert len(queries) >= 4
    for query in queries:
        connection.execute(query)


def test_the_marks_in_the_header_are_the_real_ones(document: str) -> None:
    assert f"`application_id` is `{schema.APPLICATION_ID:#x}`" in document
    assert f"at present {schema.VERSION}." in document
