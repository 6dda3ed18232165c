"""A verification as JUnit XML, which most continuous integration services read.

One test suite for each phase, one test case for each criterion of a gate and for the proof of a
component. A criterion that fails is a failure, one that could not be decided an error, a waived
one is skipped with its reason. The format is that of Apache Ant's task "junit", as far as services
agree on it.
"""

from __future__ import annotations

from itertools import groupby
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from reactivate.evidence import Verdict
from reactivate.gate.judgement import Judgement
from reactivate.report.verified import Ending, Gate, Verified
from reactivate.texts import visible


def junit(found: Verified) -> str:
    """The document, with its XML declaration."""
    root = Element("testsuites", name=_text(f"reactivate verify: {found.target}"))
    root.set("time", f"{found.seconds:.3f}")
    counts = {"tests": 0, "failures": 0, "errors": 0, "skipped": 0}
    for phase, gates in groupby(found.gates, key=lambda gate: gate.phase):
        own = list(gates)
        suite = SubElement(root, "testsuite", name=_text(phase))
        suite.set("time", f"{sum(gate.seconds for gate in own):.3f}")
        suite.set("timestamp", found.at.replace(" ", "T"))
        _properties(suite, found)
        for gate in own:
            _cases(suite, gate)
        for name, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
            number = len(suite.findall(f"testcase/{tag}"))
            suite.set(name, str(number))
            counts[name] += number
        suite.set("tests", str(len(suite.findall("testcase"))))
        counts["tests"] += len(suite.findall("testcase"))
    for name, number in counts.items():
        root.set(name, str(number))
    indent(root)
    return tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _properties(suite: Element, found: Verified) -> None:
    properties = SubElement(suite, "properties")
    known = {**found.environment, "commit": found.commit, "target": found.target}
    for name, value in known.items():
        if value:
            SubElement(properties, "property", name=_text(name), value=_text(value))


def _cases(suite: Element, gate: Gate) -> None:
    where = _text(f"{gate.phase}.{gate.check}")
    if not gate.judgements:
        case = SubElement(suite, "testcase", classname=where, name="runs")
        case.set("time", f"{gate.seconds:.3f}")
        if gate.ending is not Ending.VERIFIED:
            error = SubElement(case, "error", message=_text(gate.trouble), type=gate.ending.value)
            error.text = _text(gate.folder)
        return
    for number, judged in enumerate(gate.judgements):
        case = SubElement(suite, "testcase", classname=where, name=_text(judged.source))
        # The time is the gate's; no criterion has one of its own.
        case.set("time", f"{gate.seconds if number == 0 else 0.0:.3f}")
        _result(case, gate, judged)


def _result(case: Element, gate: Gate, judged: Judgement) -> None:
    if judged.verdict is Verdict.PASS:
        return
    reason = _text(judged.reason)
    if judged.criterion in gate.waived and judged.verdict in (Verdict.FAIL, Verdict.INCONCLUSIVE):
        waived = f"waived by {gate.waived[judged.criterion]}"
        SubElement(case, "skipped", message=_text(f"{waived}; {judged.reason}"))
    elif judged.verdict is Verdict.FAIL:
        failure = SubElement(case, "failure", message=reason, type=judged.verdict.value)
        failure.text = _text("\n".join(_details(gate, judged)))
    else:
        error = SubElement(case, "error", message=reason, type=judged.verdict.value)
        error.text = _text(gate.folder)


def _details(gate: Gate, judged: Judgement) -> list[str]:
    lines = [judged.reason]
    if judged.criterion in gate.before:
        lines.append(f"before: {gate.before[judged.criterion]}")
    if gate.culprit:
        lines.append(f"most bytes: {gate.culprit}")
    return [*lines, *gate.chain, f"evidence: {gate.folder}{judged.evidence}"]


def _text(value: str) -> str:
    """Lines without what no XML document may hold (XML 1.0, 2.2), and without hidden characters."""
    lines = (visible(line) for line in value.split("\n"))
    return "\n".join(lines).replace("\ufffe", "\\ufffe").replace("\uffff", "\\uffff")
