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
        self._found: Workspace | None = None

    def workspace(self) -> Workspace:
        """The workspace this command works on.

        Raises:
            WorkspaceError: there is none here or above, or a link leads out of it.
        """
        from reactivate.trust import require_no_links
        from reactivate.workspace import find

        workspace = find(self.workspace_path or Path.cwd())
        require_no_links(workspace)
        self._found = workspace
        return workspace

    def give_back(self) -> None:
        """What root has written in a user's workspace is the user's afterwards."""
        if self._found is not None:
            from reactivate.trust import give_workspace_back

            give_workspace_back(self._found)
