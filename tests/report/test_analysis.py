"""Analyses say what the ledger holds, cite it, name what is gone, and obey no text."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from pathlib import Path
from typing import Any
from urllib.parse import unquote
from xml.etree import ElementTree

import pytest
from markdown_it import MarkdownIt

from reactivate.errors import UsageError
from reactivate.ledger import ArtifactRecord, Ledger, utc_now
from reactivate.ledger.provoked import ProvokedLedger
from reactivate.report.analysis.evidence import FileState, check_file
from reactivate.report.analysis.ordering import Cost, suggested
from reactivate.report.analysis.shape import PhaseKind, PhaseShape
from reactivate.report.analysis.write import Analyses, Wanted, render, write
from reactivate.report.decision_log import render_log
from reactivate.report.illustrated import illustrated
from reactivate.report.picture.svg import Picture
from tests.report.hostile import build

MARKDOWN = MarkdownIt("commonmark").enable("table")
ALL = Wanted(baseline=True, components=("search",), overflow=True)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    build(tmp_path)
    return tmp_path


def made(root: Path, wanted: Wanted = ALL) -> Analyses:
    return render(root / "ledger.db", root / "results", wanted)


def rendered(root: Path, wanted: Wanted = ALL) -> dict[str, str]:
    return dict(made(root, wanted).documents)


def test_the_same_ledger_gives_the_same_bytes_wherever_it_lies(root: Path, tmp_path: Path) -> None:
    other = tmp_path / "elsewhere"
    build(other)
    assert rendered(root) == rendered(other)


def test_hostile_texts_are_shown_and_not_obeyed(root: Path) -> None:
    with Ledger.open(root / "ledger.db", writer=False) as ledger:
        files = {**rendered(root), "CAMPAIGN.md": render_log(ledger)["CAMPAIGN.md"]}
    headings = {
        "## Refusals",
        "## Stack",
        "## Deaths",
        "## Causes, worst first",
        "# Campaign report",
    }
    for name, text in files.items():
        assert not set(text) & set("\x1b\x07\u202e\u200b\x00"), name
        tokens = MARKDOWN.parse(text)
        everything = [*tokens, *(c for t in tokens for c in t.children or [])]
        kinds = {token.type for token in everything}
        assert not kinds & {"html_block", "html_inline", "em", "blockquote_open"}, name
        for token in everything:
            if token.type == "link_open":
                assert re.fullmatch(r"[./\w%-]+", str(token.attrs["href"])), token.attrs
            if token.type == "image":
                assert re.fullmatch(r"[\w-]+/[\w-]+\.svg", str(token.attrs["src"])), token.attrs
        heading = [
            text.splitlines()[t.map[0]] for t in tokens if t.type == "heading_open" and t.map
        ]
        assert not any(h == "# no" or h == "# heading" for h in heading)
        headings -= set(heading)
        assert "alert" in text
    assert not headings


def test_every_link_leads_to_an_evidence_file(root: Path) -> None:
    folder = root / "results" / "analysis"
    files = made(root)
    write(files, folder)
    found = 0
    for text in files.documents.values():
        for token in MARKDOWN.parse(text):
            for child in token.children or []:
                if child.type == "link_open":
                    found += 1
                    target = folder / unquote(str(child.attrs["href"]))
                    whole_attempt = str(child.attrs["href"]).endswith("/")
                    assert target.is_dir() if whole_attempt else target.is_file()
    assert found > 10


def test_each_picture_stands_in_its_document_and_lies_beside_it(root: Path) -> None:
    folder = root / "results" / "analysis"
    found = made(root)
    write(found, folder)
    seen = set()
    for name, text in found.documents.items():
        section = ""
        for token in MARKDOWN.parse(text):
            if token.type == "inline" and token.map:
                section = token.content if text.splitlines()[token.map[0]][0] == "#" else section
            for child in token.children or []:
                if child.type == "image":
                    file = folder / str(child.attrs["src"])
                    ElementTree.fromstring(file.read_text(encoding="utf-8"))
                    seen.add((name, section, file.name))
    assert seen >= {
        ("baseline.md", "Stack", "depth.svg"),
        ("component-search.md", "Stack of each operation", "depth.svg"),
        ("component-search.md", "Frames that appeared or grew", "chain.svg"),
    }
    assert len(seen) == sum(len(files) for files in found.pictures.values())


def test_pictures_that_are_made_no_more_are_removed_and_those_of_others_stay(root: Path) -> None:
    folder = root / "results" / "analysis"
    write(made(root), folder)
    here = folder / "component-search"
    mine, kept = here / "mine.svg", here / "kept.svg"
    mine.write_text("<svg/>")
    shutil.copyfile(here / "chain.svg", kept)
    (root / "results" / "search" / "attempt-002" / "deepest" / "deepest-op.json").unlink()
    write(made(root), folder)
    assert sorted(path.name for path in here.iterdir()) == ["depth.svg", "kept.svg", "mine.svg"]
    assert "chain.svg" not in (folder / "component-search.md").read_text(encoding="utf-8")


def test_what_a_program_says_is_no_heading_for_a_picture() -> None:
    picture = Picture(title="a", said="", height=1, parts=())
    text = "## Stack\n\n````\n## Stack\n```\n## Stack\n````\n\n## Stack of"
    shown = illustrated(text, {"depth": ("## Stack", picture)}, "x")
    assert shown == text.replace("## Stack\n", "## Stack\n\n![a](x/depth.svg)\n", 1)


def test_numbers_are_the_ledgers(root: Path) -> None:
    component = rendered(root)["component-search.md"]
    (row,) = (line for line in component.splitlines() if "+900 B (+30.0 %)" in line)
    assert "3,900 B" in row
    assert row.count("+900 B (+30.0 %)") == 2  # the build before is the minimal one
    assert "1 functions appeared or grew by 900 B" in component
    assert "1.50×" in component  # 1,500 ns against 1,000 ns of the build before
    assert "rss.peak` | not measured: " in component


def test_a_changed_and_a_deleted_file_are_named_and_not_read(root: Path) -> None:
    results = root / "results"
    before = rendered(root)["component-search.md"]
    chain = results / "search" / "attempt-002" / "deepest" / "deepest-op.json"
    recorded = hashlib.sha256(chain.read_bytes()).hexdigest()
    chain.write_text(chain.read_text().replace("3900", "3901"))
    changed = hashlib.sha256(chain.read_bytes()).hexdigest()
    (results / "search" / "attempt-001" / "watermark" / "water mark.json").unlink()
    after = rendered(root)["component-search.md"]
    assert "Not measured: search/attempt-002/deepest/deepest-op.json is changed." in after
    assert "3,901" not in after
    assert f"**changed**; recorded `{recorded}`, now `{changed}`" in after
    assert "`search/attempt-001/watermark/water mark.json`: **missing**" in after
    # What the ledger holds stands.
    assert "+900 B (+30.0 %)" in after
    assert "**changed**" not in before


def test_deaths_and_causes_come_from_the_scenarios(root: Path) -> None:
    text = rendered(root)["stack-overflow.md"]
    assert "2 on record, 0 of them asked for" in text
    assert "Of all, provoked by hand: 1." in text
    assert "provoked.overflow" not in text, "no phase of the campaign"
    assert re.search(r"\| recursion \| .* \| 2 \| 512 B \|", text)
    assert "**dangerous**" in text
    assert "| linear |" in text


def test_evidence_of_the_wrong_form_is_said_to_be(root: Path) -> None:
    ledger = root / "ledger.db"
    odd = (
        b"[]", b"not json", b'{"steps": 7, "growth": [1], "components": "x", "passed": "yes"}',
        b'{"operation": 1, "frames": [{"size_bytes": "many"}]}', b"\xff\xfe", b"[" * 100_000,
    )  # fmt: skip
    with Ledger.open(ledger, writer=True) as writer:
        for content in odd:
            for check, path in (
                ("trace", "deepest/deepest-x.json"),
                ("overflow", "scenarios/x.json"),
                ("overflow", "smallest_stack/x.json"),
            ):
                attempt = writer.begin_attempt("search", check, {})
                file = root / "results" / attempt.folder / path
                file.parent.mkdir(parents=True)
                file.write_bytes(content)
                record = ArtifactRecord(
                    path=path, sha256=hashlib.sha256(content).hexdigest(), size_bytes=len(content)
                )
                writer.finish(attempt, "advanced", artifacts=[record])
            files = rendered(root)
            assert "Not measured: " in files["component-search.md"]


def test_a_note_of_the_wrong_form_links_nowhere(root: Path) -> None:
    odd: tuple[dict[str, Any], ...] = (
        {"evidence": "../../../secret", "scenario": 7, "components": "x", "steps": 7},
        {"steps": [{"death": {"chain": 7}, "classification": []}], "growth": {}, "least": 7},
        {"least": {"survived_bytes": "many"}, "steps": ["x"], "components": [7]},
    )
    with ProvokedLedger.open(root / "ledger.db", writer=True) as ledger:
        for data in odd:
            ledger.provoked(data, outcome="expected", environment={}, folder="overflow/odd",
                            artifacts=(), started=utc_now())  # fmt: skip
    text = rendered(root)["stack-overflow.md"]
    assert "run by hand (`reactivate overflow`): 4;" in text
    assert "secret" not in text


def test_an_artifact_outside_of_its_folder_is_not_opened(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("{}")
    digest = hashlib.sha256(b"{}").hexdigest()
    for path in ("../../secret", str(tmp_path / "secret"), "a\0b"):
        artifact = ArtifactRecord(path=path, sha256=digest, size_bytes=2)
        found = check_file(tmp_path / "results", "search/attempt-001", artifact)
        assert found.state is FileState.OUTSIDE
        assert not found.found_sha256


def test_a_name_that_is_no_utf8_is_found(tmp_path: Path) -> None:
    folder = tmp_path / "results" / "a"
    folder.mkdir(parents=True)
    (folder / "odd\udcff.json").write_bytes(b"x")
    from reactivate.ledger import record_artifacts

    (artifact,) = record_artifacts(folder)
    assert check_file(tmp_path / "results", "a", artifact).state is FileState.INTACT


def test_an_empty_ledger_says_what_is_missing(tmp_path: Path) -> None:
    files = rendered(tmp_path, Wanted(baseline=True, overflow=True))
    assert "Not measured: no campaign was started." in files["baseline.md"]
    assert "Not measured: no scenario is on record." in files["stack-overflow.md"]
    assert not re.search(r"\b0 B\b", "".join(files.values()))


def test_an_unknown_component_is_refused_by_name(root: Path) -> None:
    with pytest.raises(UsageError, match="did you mean `search`"):
        rendered(root, Wanted(components=("serch",)))


def test_files_are_written_once(root: Path) -> None:
    files = made(root)
    folder = root / "results" / "analysis"
    assert len(write(files, folder)) == 3
    assert write(files, folder) == ()
    (folder / "baseline.md").write_text("edited")
    assert write(files, folder) == (folder / "baseline.md",)
    assert not list(folder.glob(".*"))


def test_a_component_never_comes_before_what_it_needs() -> None:
    def cost(name: str, added: float | None, needs: tuple[str, ...], deaths: int = 0) -> Cost:
        phase = PhaseShape(id=name, kind=PhaseKind.COMPONENT, title=name, needs=needs)
        return Cost(phase=phase, takes=("", ""), added_bytes=added, deaths=deaths, refusals=0)

    costs = [
        cost("dear", 900, ()), cost("cheap", 1, ("dear",)), cost("deadly", 0, (), deaths=1),
        cost("unknown", None, ()), cost("a", 5, ("b",)), cost("b", 5, ("a",)),
    ]  # fmt: skip
    order = [each.phase.id for each in suggested({each.phase.id: each for each in costs})]
    assert order == ["dear", "cheap", "deadly", "unknown", "a", "b"]


def test_the_wanted_law_is_in_json_safe_form(root: Path) -> None:
    # The evidence the fixture writes is what record_artifacts hashed: no test reads a stray file.
    content = json.loads((root / "results/search/attempt-003/scenarios/one.json").read_text())
    assert content["growth"][0]["reaches_limit_at"] == 12.5
    assert "| 12 |" in rendered(root)["stack-overflow.md"]
