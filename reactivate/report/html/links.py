"""Where decisions, attempts and phases are found, seen from the page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from reactivate.ledger.records import Decision
from reactivate.report.analysis.markup import code, link


@dataclass(frozen=True, slots=True, kw_only=True)
class Links:
    """Links that are not to evidence.

    Attributes:
        decisions: from the page to the folder of the decision log, with `/` at its end.
        files: the files of the log that exist, by number of the decision.
        phases: anchors of the phases that are on the page.
    """

    decisions: str
    files: Mapping[int, str]
    phases: Mapping[str, str]

    def decision(self, decision: Decision) -> str:
        """A decision by its number; as text where the log was not written."""
        name = f"decision {decision.number}"
        file = self.files.get(decision.number)
        return link(name, f"{self.decisions}{file}") if file else name

    def phase(self, name: str) -> str:
        """A phase by its name."""
        anchor = self.phases.get(name)
        return f"[{code(name)}](#{anchor})" if anchor and name else code(name)
