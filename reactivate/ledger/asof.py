"""A ledger as it was: whoever asks on the connection sees only what an event and those before it
had recorded. The file is not touched.
"""

from __future__ import annotations

import sqlite3
from typing import Final

_ENDED: Final = "('attempt_finished', 'attempt_interrupted')"


def look_back(connection: sqlite3.Connection, seq: int) -> None:
    """Let a reader's connection see the ledger as it was right after an event.

    SQLite looks a name up among temporary views first. Environments stay all visible: nobody asks
    for one but through an attempt.
    """
    connection.execute("PRAGMA query_only = OFF")
    connection.execute("PRAGMA temp_store = MEMORY")
    seq = int(seq)
    for statement in (
        f"CREATE TEMP TABLE ended AS SELECT attempt AS id FROM main.events"
        f" WHERE seq <= {seq} AND attempt IS NOT NULL AND kind IN {_ENDED}",
        f"CREATE TEMP TABLE begun AS SELECT attempt AS id FROM main.events"
        f" WHERE seq <= {seq} AND attempt IS NOT NULL AND kind = 'attempt_started'",
        f"CREATE TEMP VIEW events AS SELECT * FROM main.events WHERE seq <= {seq}",
        f"CREATE TEMP VIEW decisions AS SELECT * FROM main.decisions WHERE seq <= {seq}",
        "CREATE TEMP VIEW attempts AS SELECT id, phase, step, number, started_at,"
        " CASE WHEN id IN (SELECT id FROM ended) THEN ended_at END AS ended_at,"
        " CASE WHEN id IN (SELECT id FROM ended) THEN status ELSE 'running' END AS status,"
        " CASE WHEN id IN (SELECT id FROM ended) THEN outcome ELSE '' END AS outcome,"
        " environment_sha256, folder FROM main.attempts WHERE id IN (SELECT id FROM begun)",
        *(
            f"CREATE TEMP VIEW {table} AS SELECT * FROM main.{table}"
            " WHERE attempt IN (SELECT id FROM ended)"
            for table in ("measurements", "verdicts", "artifacts")
        ),
    ):
        connection.execute(statement)
    connection.execute("PRAGMA query_only = ON")
