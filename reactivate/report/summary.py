"""A verification as Markdown that fits a comment on a pull request."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from reactivate.evidence import NotMeasured, Verdict
from reactivate.gate.judgement import Judgement
from reactivate.report.analysis.markup import code, code_block, prose, table
from reactivate.report.verified import Ending, Gate, Verified
from reactivate.units import format_quantity

MOST_CHARACTERS = 60_000
"""What hosts of repositories take as a comment is a little more."""

_COLUMNS = ("activation", "baseline", "trace", "overflow")
_SIGNS = {
    Ending.VERIFIED: "pass",
    Ending.REFUSED: "**REFUSED**",
    Ending.INCONCLUSIVE: "inconclusive",
    Ending.BROKEN: "**not measured**",
}


def headline(found: Verified) -> str:
    """The verification in one sentence."""
    if found.unchanged:
        return f"Nothing had to be measured: {found.unchanged}."
    refused = [gate for gate in found.gates if gate.ending is Ending.REFUSED]
    verified = sum(gate.ending is Ending.VERIFIED for gate in found.gates)
    told = f"{verified} of {len(found.gates)} gates verified"
    open_ = [gate for gate in found.gates if gate.ending is not Ending.VERIFIED]
    if refused:
        return f"Refused by {_first(refused)}; {told}."
    if open_:
        return f"Not decided: {_first(open_)}; {told}."
    return f"{told}."


def _first(gates: Sequence[Gate]) -> str:
    """The first by name: what comes after it is often its consequence."""
    more = f" and {len(gates) - 1} more" if len(gates) > 1 else ""
    return f"the {gates[0].check} gate of {gates[0].phase}{more}"


def summary(found: Verified) -> str:
    """The comment."""
    about = [code(found.target)]
    if found.commit:
        about.append(f"commit {code(found.commit[:12] + '+' * found.commit.endswith('+'))}")
    about += [prose(found.environment.get(key, "")) for key in ("kernel", "cpu")]
    lines = [f"## {prose(headline(found))}", "", "; ".join(part for part in about if part), ""]
    lines += _overview(found.gates)
    for gate in found.gates:
        if gate.ending is not Ending.VERIFIED:
            lines += _gate(gate)
    if found.uncalibrated:
        names = ", ".join(code(name) for name in found.uncalibrated)
        lines += [f"Not calibrated on this machine: {names}.", ""]
    text = "\n".join(lines)
    if len(text) <= MOST_CHARACTERS:
        return text
    # A fence that is cut open would take the rest of the page with it.
    short = [*lines[:4], *_overview(found.gates), "Too much went wrong for one comment.", ""]
    return "\n".join(short)[:MOST_CHARACTERS]


def _overview(gates: Sequence[Gate]) -> list[str]:
    rows = []
    for phase, own in groupby(gates, key=lambda gate: gate.phase):
        ended = {gate.check: _SIGNS[gate.ending] for gate in own}
        rows.append([code(phase), *(ended.get(check, "") for check in _COLUMNS)])
    return table(["phase", *_COLUMNS], rows) if rows else []


def _gate(gate: Gate) -> list[str]:
    lines = [f"### {prose(gate.phase)}, {gate.check}: {gate.ending.value}", ""]
    if gate.trouble:
        lines += [prose(gate.trouble), ""]
    # The integration asks many things once for each component.
    open_ = {j.source: j for j in reversed(gate.judgements) if j.verdict is not Verdict.PASS}
    lines += [f"- {_criterion(gate, judged)}" for judged in reversed(open_.values())]
    if open_:
        lines.append("")
    if gate.culprit:
        lines += [f"Most bytes: {code(gate.culprit)}", ""]
    if gate.chain:
        lines += ["<details><summary>call chain</summary>", "", *code_block(gate.chain)]
        lines += ["</details>", ""]
    if gate.folder:
        lines += [f"Evidence: {code(gate.folder)}", ""]
    return lines


def _criterion(gate: Gate, judged: Judgement) -> str:
    text = f"{code(judged.source)}: {judged.verdict.value.upper()}"
    if judged.criterion in gate.waived:
        text += f", waived by {prose(gate.waived[judged.criterion])}"
    if judged.operation:
        text += f", operation {code(judged.operation)}"
    if judged.thread:
        text += f", thread {code(judged.thread)}"
    if not isinstance(judged.observed, NotMeasured):
        text += f": {format_quantity(judged.observed, judged.dimension)}"
        if not isinstance(judged.limit, NotMeasured):
            text += f" against {format_quantity(judged.limit, judged.dimension)}"
    if judged.criterion in gate.before:
        text += f"; before: {prose(gate.before[judged.criterion])}"
    return text if judged.verdict is Verdict.FAIL else f"{text}. {prose(judged.reason)}"
