"""Changing what a ledger holds behind its back, guards and all left as they were."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from reactivate.ledger import chain
from reactivate.workspace import Workspace
from tests.ledger.material import unguarded


def tamper(ledger: Path, *statements: str) -> None:
    """Run statements as if there were no guards."""
    with closing(sqlite3.connect(ledger, isolation_level=None)) as connection:
        guards = connection.execute(
            "SELECT name, sql FROM sqlite_master WHERE type = 'trigger'"
        ).fetchall()
        for name, _ in guards:
            connection.execute(f"DROP TRIGGER {name}")
        for statement in statements:
            assert connection.execute(statement).rowcount != 0, f"nothing changed: {statement}"
        for _, sql in guards:
            connection.execute(sql)


def forged(workspace: Workspace, forge: Callable[[sqlite3.Connection], object]) -> None:
    """Replace the ledger by one that somebody changed, and whose chain fits."""
    opened = sqlite3.connect(workspace.ledger)
    bare = unguarded(opened)
    opened.close()
    forge(bare)
    bare.execute("DELETE FROM chain")
    chain.extend(bare)
    workspace.ledger.unlink()
    written = sqlite3.connect(workspace.ledger)
    bare.backup(written)
    written.close()
    bare.close()
