"""The workspaces of the command line's tests."""

from __future__ import annotations

from tests.cli.conftest import make

__all__ = ["make"]
