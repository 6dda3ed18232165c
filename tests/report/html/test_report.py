"""The report shows what ledger and evidence hold, links to it, and obeys no text."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote
from xml.etree import ElementTree

import pytest

from reactivate.evidence import Check, Dimension, Measurement, NotMeasured, Verdict
from reactivate.gate.judgement import Judgement
from reactivate.ledger import DecisionDraft, Ledger, record_artifacts
from reactivate.report.analysis.write import Wanted, render
from reactivate.report.decision_log import write_log
from reactivate.report.html.report import Folders, Report, render_report, write_report
from tests.report import hostile

BREAKS_OUT = (
    "\"'><svg onload=alert(1)><img src=x onerror=alert(2)>]]>--><!--</title></style></svg>"
    "<a href=javascript:alert(3)>&#60;b&#62;&lt;i&gt;\ufffe\ufdd0\x00\u2066x\u2069 {{}} ${y}"
)
TAGS = {
    "html", "head", "meta", "title", "style", "body", "main", "nav", "section", "div", "h1", "h2",
    "h3", "h4", "h5", "h6", "p", "ul", "li", "a", "code", "pre", "strong", "table", "thead",
    "tbody", "tr", "th", "td", "details", "summary", "figure", "figcaption", "svg", "desc", "g",
    "rect", "text", "path", "polyline",
}  # fmt: skip


class Skeleton(HTMLParser):
    """Elements with the names of their attributes, and the links."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, tuple[str, ...]]] = []
        self.links: list[str] = []
        self.ids: list[str] = []
        self.words: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, tuple(name for name, _ in attrs)))
        given = dict(attrs)
        if "href" in given:
            self.links.append(str(given["href"]))
        if "id" in given:
            self.ids.append(str(given["id"]))

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join("".join(self.words).split())


def report(
    root: Path, *, components: Sequence[str] = (), page: str = "results/report/index.html"
) -> Report:
    folders = Folders(
        ledger=root / "ledger.db",
        results=root / "results",
        decisions=root / "docs" / "decisions",
        page=root / page,
    )
    made = render_report(folders, components=components, stale={})
    write_report(made, folders.page, root / "results" / "report")
    return made


@pytest.fixture
def measured(tmp_path: Path) -> Path:
    hostile.build(tmp_path)
    with Ledger.open(tmp_path / "ledger.db", writer=False) as ledger:
        write_log(ledger, tmp_path / "docs" / "decisions")
    return tmp_path


@pytest.mark.parametrize("text", [hostile.HOSTILE, BREAKS_OUT], ids=["markdown", "markup"])
def test_no_element_and_no_attribute_comes_from_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    """The same ledger with harmless text has exactly the same elements."""
    pages = []
    for name, used in (("bad", text), ("good", "harmless words of a certain length " * 5)):
        monkeypatch.setattr(hostile, "HOSTILE", used)
        # Evidence may hold what the ledger refuses: half of a surrogate pair.
        half = "\ud83d" if name == "bad" else "x"
        inner = (f"{used}{half}", 3000, used)
        monkeypatch.setattr(hostile, "CHAIN", (hostile.CHAIN[0], inner, hostile.CHAIN[2]))
        hostile.build(tmp_path / name)
        pages.append(report(tmp_path / name))
    bad, good = (Skeleton(page.html) for page in pages)
    assert {tag for tag, _ in bad.elements} <= TAGS
    assert bad.elements == good.elements
    assert bad.ids == good.ids
    for link in bad.links:
        assert link.startswith(("#", "../")), link
    assert "alert(" in bad.text
    assert not set(pages[0].html) & set("\x00\x07\x1b\u202e\u200b\u2066\ufffe\ufdd0\ud83d")
    bad_svgs, good_svgs = (
        [_tree(svg) for _, svg in sorted(page.pictures.items())] for page in pages
    )
    assert bad_svgs
    assert len(bad_svgs) == len(good_svgs)
    names = {each for tree in bad_svgs for each in tree}
    assert names == {each for tree in good_svgs for each in tree}


def _tree(svg: str) -> list[tuple[str, tuple[str, ...]]]:
    return [(e.tag, tuple(sorted(e.attrib))) for e in ElementTree.fromstring(svg).iter()]


def test_the_same_ledger_and_files_give_the_same_bytes(measured: Path, tmp_path: Path) -> None:
    other = tmp_path / "elsewhere"
    hostile.build(other)
    with Ledger.open(other / "ledger.db", writer=False) as ledger:
        write_log(ledger, other / "docs" / "decisions")
    assert report(measured) == report(other)


@pytest.mark.parametrize("page", ["results/report/index.html", "page.html", "a/b c/page.html"])
def test_every_link_leads_somewhere_also_after_a_move(
    measured: Path, tmp_path: Path, page: str
) -> None:
    html = report(measured, page=page).html
    moved = tmp_path / "moved workspace"
    moved.mkdir()
    for entry in ("ledger.db", "results", "docs", page.split("/", maxsplit=1)[0]):
        if (measured / entry).exists():
            (measured / entry).rename(moved / entry)
    seen = Skeleton(html)
    assert len(seen.links) > 40
    for link in seen.links:
        if link.startswith("#"):
            assert link[1:] in seen.ids, link
        else:
            assert ((moved / page).parent / unquote(link)).exists(), link
    assert len(seen.ids) == len(set(seen.ids))


def test_a_page_outside_of_the_workspace_says_what_its_links_hang_on(
    measured: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    page = tmp_path_factory.mktemp("outside") / "page.html"
    folders = Folders(
        ledger=measured / "ledger.db",
        results=measured / "results",
        decisions=measured / "docs" / "decisions",
        page=page,
    )
    html = render_report(folders, stale={}).html
    assert "lies outside of its workspace" in html
    for link in Skeleton(html).links:
        assert link.startswith("#") or (page.parent / unquote(link)).exists(), link


def test_evidence_that_is_gone_or_changed_is_named_and_not_drawn(measured: Path) -> None:
    names = set(report(measured).pictures)
    chain = measured / "results/search/attempt-002/deepest/deepest-op.json"
    before = hashlib.sha256(chain.read_bytes()).hexdigest()
    chain.write_text("{}")
    (measured / "results/search/attempt-003/scenarios/one.json").unlink()
    made = report(measured)
    text = Skeleton(made.html).text
    assert names - set(made.pictures) == {"chain-search.svg"}
    now = hashlib.sha256(b"{}").hexdigest()
    assert f"search/attempt-002/deepest/deepest-op.json: changed; recorded {before}, now {now}" in (
        text
    )
    assert "search/attempt-003/scenarios/one.json: missing" in text
    assert "Not measured: search/attempt-002/deepest/deepest-op.json is changed." in text


def test_an_empty_ledger_says_what_is_missing_and_draws_nothing(tmp_path: Path) -> None:
    made = report(tmp_path)
    seen = Skeleton(made.html)
    assert made.pictures == {}
    assert "svg" not in {tag for tag, _ in seen.elements}
    assert "Nothing was begun. The ledger is empty" in seen.text
    assert "no campaign was started" in seen.text
    assert "no calibration of the instruments is on record" in seen.text


def test_evidence_that_is_stale_is_for_a_person_to_look_at(measured: Path) -> None:
    folders = Folders(
        ledger=measured / "ledger.db",
        results=measured / "results",
        decisions=measured / "docs" / "decisions",
        page=measured / "page.html",
    )
    html = render_report(folders, stale={"search": "the kernel changed"}).html
    assert '<td class="look">stale: the kernel changed</td>' in html
    unknown = render_report(folders, stale=NotMeasured(reason="no target")).html
    assert "Whether evidence is stale cannot be told: no target." in unknown


CHAINS = {"refused": [("leaf", 96), *[("walk", 2_000)] * 1_000, ("main", 500)],
          "fixed": [("loop", 400), ("main", 500)]}  # fmt: skip


@pytest.fixture
def refused(tmp_path: Path) -> Iterator[tuple[Ledger, Path]]:
    """A component that was refused for a recursion, mended by a setting, and measured again."""
    with Ledger.open(tmp_path / "ledger.db", writer=True) as ledger:
        _activated(ledger, "recursive")
        attempt = _measured(ledger, tmp_path, Check.BASELINE, 2_000_596, "refused")
        _decided(ledger, "refused", attempt, "1 criterion failed")
        _decided(ledger, "retried", attempt, "the configuration changed")
        yield ledger, tmp_path


def _activated(ledger: Ledger, implementation: str) -> None:
    attempt = ledger.begin_attempt("search", "activate", {})
    data = {"configuration": {"search.implementation": implementation, "search.ef": 50}}
    ledger.finish(attempt, "advanced", events=[("activated", data)])


def _measured(
    ledger: Ledger, root: Path, check: Check, depth: int, outcome: str, *, file: str = "walk.c"
) -> int:
    attempt = ledger.begin_attempt("search", check.value, {"kernel": "Linux"})
    folder = root / "results" / attempt.folder
    chain = CHAINS["refused" if depth > 1000 else "fixed"]
    frames = [
        {"size_bytes": size, "function": name, "file": file, "line": 7} for name, size in chain
    ]
    document = {"operation": "search", "total_bytes": depth, "frames": frames}
    hostile.write(folder / "deepest" / "deepest-search.json", document)
    hostile.write(folder / "watermark.json", {"depth": depth})
    judged = Judgement(
        criterion="search.baseline.stack.peak", source="stack.peak <= 25% of stack.limit",
        check=check, verdict=Verdict.FAIL if depth > 250_000 else Verdict.PASS, observed=depth,
        limit=250_000, dimension=Dimension.BYTES, samples=3, operation="search", thread="main",
        instrument="watermark", evidence="watermark.json", reason="deeper than allowed",
    )  # fmt: skip
    common = {"instrument": "watermark", "thread": "main", "evidence": "watermark.json"}
    ledger.finish(
        attempt,
        outcome,
        measurements=[
            Measurement(metric="stack.peak", value=depth, operation="search", **common),
            Measurement(metric="stack.limit", value=1_000_000, **common),
        ],
        judgements=[judged] if check is Check.BASELINE else [],
        artifacts=record_artifacts(folder),
    )
    return attempt.id


def _decided(ledger: Ledger, kind: str, attempt: int, reason: str) -> None:
    ledger.decide(
        DecisionDraft(kind=kind, phase="search", reason=reason, who="me", attempt=attempt)
    )


def test_why_it_was_refused_and_what_was_changed_can_be_read(
    refused: tuple[Ledger, Path],
) -> None:
    ledger, root = refused
    _activated(ledger, "iterative")
    after = _measured(ledger, root, Check.BASELINE, 900, "advanced")
    _measured(ledger, root, Check.TRACE, 900, "advanced")
    _decided(ledger, "advanced", after, "every gate passed")
    made = report(root)
    text = Skeleton(made.html).text
    for said in (
        "stack.peak <= 25% of stack.limit was not met: 1.91 MiB (search main) against a limit of "
        "244 KiB (2: watermark.json).",
        "walk (walk.c:7), called 1,000 times inside itself, took 1.91 MiB, 99.97 % of the",
        'the target\'s setting search.implementation was "recursive", is "iterative".',
        "stack.peak <= 25% of stack.limit: 900 B (search main) against 244 KiB, PASS (4:",
        "it is active (decision 3).",
    ):
        assert said in text, said
    picture = made.pictures["refused-0001-search.svg"]
    assert 'data-total-bytes="2000596 900"' in picture
    for marked in ("− walk × 1,000 1.91 MiB", "+ loop 400 B", "refused, search", "fixed, search"):
        assert marked in picture


def test_where_somebody_built_it_is_not_shown(tmp_path: Path) -> None:
    """Page, pictures and analysis name the place in the source, however the folder was called."""
    with Ledger.open(tmp_path / "ledger.db", writer=True) as ledger:
        for check in (Check.BASELINE, Check.TRACE):
            built = f"/tmp/build-{check.value}/src/walk.c"
            attempt = _measured(ledger, tmp_path, check, 2_000_596, "refused", file=built)
        _decided(ledger, "refused", attempt, "1 criterion failed")
    made = report(tmp_path)
    wanted = Wanted(components=("search",))
    made_too = render(tmp_path / "ledger.db", tmp_path / "results", wanted)
    analysis = made_too.documents["component-search.md"]
    for shown in (made.html, made.pictures["refused-0001-search.svg"], analysis):
        assert "…/src/walk.c:7" in shown
        assert "/tmp/build" not in shown


def test_what_was_measured_again_and_failed_again_is_not_called_fixed(
    refused: tuple[Ledger, Path],
) -> None:
    ledger, root = refused
    _measured(ledger, root, Check.BASELINE, 2_000_596, "refused")
    _measured(ledger, root, Check.TRACE, 900, "advanced")
    made = report(root)
    assert "newest, not passed, search" in made.pictures["refused-0001-search.svg"]
    assert "fixed, search" not in made.html
    assert "being tried again" in made.html


def test_a_refusal_that_nobody_answered_says_so(tmp_path: Path) -> None:
    with Ledger.open(tmp_path / "ledger.db", writer=True) as ledger:
        attempt = _measured(ledger, tmp_path, Check.BASELINE, 2_000_596, "refused")
        _decided(ledger, "refused", attempt, "1 criterion failed")
        ledger.begin_attempt("search", "trace", {})
        text = Skeleton(report(tmp_path).html).text
    assert "nothing was decided since. It is still refused." in text
    assert "it was not measured again." in text
    assert "trace: still running" in text
    assert "search: no finished overflow check" in text
    assert "Refused at search. Not complete: 0 of 1 measured phase is active." in text


def test_pictures_of_an_earlier_time_are_removed_and_those_of_others_stay(measured: Path) -> None:
    folder = measured / "results" / "report"
    before = set(report(measured).pictures)
    (folder / "mine.svg").write_text("<svg/>")
    (measured / "results/search/attempt-002/deepest/deepest-op.json").unlink()
    report(measured, components=("search",))
    assert (folder / "chain-search.svg").is_file(), "a page of a part removes nothing"
    now = set(report(measured).pictures)
    assert "chain-search.svg" in before - now
    assert {path.name for path in folder.glob("*.svg")} == {*now, "mine.svg"}


def test_one_component_alone(measured: Path) -> None:
    seen = Skeleton(report(measured, components=("search",)).html)
    assert "phase-1" in seen.ids
    assert "summary" not in seen.ids
    assert "search" in seen.text
