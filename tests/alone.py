"""Which tests run real daemons, and the second look at those that failed beside others.

As a plugin (`-p tests.alone`, see scripts/unit) it lets a run have nothing but such tests.
"""

from __future__ import annotations

import pytest


def runs_daemons(item: pytest.Item) -> bool:
    """Whether a test mounts a filesystem or needs root's rights over other processes."""
    marked = any(item.get_closest_marker(name) for name in ("fuse", "root"))
    return marked or bool({"needs_fuse", "needs_root"} & set(getattr(item, "fixturenames", ())))


def pytest_collection_finish(session: pytest.Session) -> None:
    """Refuses a second look at what no other process can have disturbed."""
    for item in session.items:
        if not runs_daemons(item):
            pytest.exit(f"{item.nodeid} runs no daemon: its failure stands", returncode=1)
