"""Checklists as text, put together from parts that a test can change one by one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from reactivate.checklist.model import Checklist
from reactivate.checklist.parse import parse

PATH = "checklists/small.md"
CHECKS = ("baseline", "trace", "overflow")


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One section: its block, its items, its gates."""

    kind: str
    id: str = ""
    needs: Sequence[str] = ()
    workload: Sequence[str] = ("posix",)
    before: Sequence[str] = ()
    gates: Mapping[str, Sequence[str]] = field(default_factory=dict)
    after: Sequence[str] = ()
    prose: str = ""

    @property
    def name(self) -> str:
        """The id that the phase has."""
        return self.id or self.kind

    def markdown(self) -> str:
        """The section as a person would write it."""
        component = self.kind == "component"
        block = ["```toml component" if component else "```toml phase"]
        block += [] if component else [f'kind = "{self.kind}"']
        block += [f'id = "{self.id}"'] if self.id else []
        block += [f"needs = {_array(self.needs)}"] if self.needs else []
        block += [f"workload = {_array(self.workload)}"] if self.kind != "setup" else []
        lines = [f"## {self.name.title()}", "", *block, "```", "", self.prose]
        lines += _tasks("Before", self.before)
        for check in CHECKS:
            criteria = [f"Holds: `{source}`" for source in self.gates.get(check, ())]
            lines += _tasks(f"Gate: {check}", criteria)
        lines += _tasks("After", self.after)
        return "\n".join(lines)


def _array(names: Sequence[str]) -> str:
    return "[" + ", ".join(f'"{name}"' for name in names) + "]"


def _tasks(heading: str, texts: Sequence[str]) -> list[str]:
    return [f"### {heading}", "", *(f"- [ ] {text}" for text in texts), ""] if texts else []


def written(*parts: Part) -> str:
    """The whole document."""
    return "\n\n".join(["# Small", *(part.markdown() for part in parts)]) + "\n"


def checklist_of(*parts: Part) -> Checklist:
    """The document, parsed; what is given must be without faults."""
    return _parsed(written(*parts))


@lru_cache(maxsize=64)
def _parsed(text: str) -> Checklist:
    return parse(text, PATH)


def started_with(checklist: Checklist) -> dict[str, object]:
    """The data of the event that puts a checklist in force."""
    return {
        "checklist": PATH,
        "checklist_sha256": checklist.sha256,
        "checklist_text": checklist.text,
    }
