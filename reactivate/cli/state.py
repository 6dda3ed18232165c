"""What the top-level options say, shared by all verbs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from reactivate.workspace import Workspace, find


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """The command line before the verb."""

    workspace_path: Path | None

    def workspace(self) -> Workspace:
        """The workspace this command works on.

        Raises:
            WorkspaceError: there is none here or above.
        """
        return find(self.workspace_path or Path.cwd())
