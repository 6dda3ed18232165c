"""What the top-level options say, shared by all verbs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from reactivate.workspace import Workspace


class State:
    """The command line before the verb."""

    def __init__(self, workspace_path: Path | None) -> None:
        self.workspace_path = workspace_path

    def workspace(self) -> Workspace:
        """The workspace this command works on.

        Raises:
            WorkspaceError: there is none here or above.
        """
        from reactivate.workspace import find

        return find(self.workspace_path or Path.cwd())
