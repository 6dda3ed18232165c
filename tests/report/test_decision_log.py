"""The log is made from the ledger alone, reads as Markdown, and is written whole or not at all."""

from __future__ import annotations

import re
import string
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from reactivate.errors import WorkspaceError
from reactivate.evidence import Check, Dimension, NotMeasured, Verdict
from reactivate.gate.judgement import Judgement
from reactivate.ledger import DecisionDraft, Ledger
from reactivate.report.decision_log import (
    check_log,
    escape,
    file_name,
    render_log,
    table,
    write_log,
)

MARKDOWN = MarkdownIt("commonmark").enable("table")
AWKWARD = "a | b \\| c `x|y` <b>bold</b> &lt;\n\n# not a heading\n- `lone"


def build(path: Path) -> None:
    """A refusal with two verdicts, a retry, an advance, and awkward words everywhere."""
    moments = (datetime(2026, 1, 2, 3, tzinfo=UTC) + timedelta(seconds=n) for n in range(1000))
    with Ledger.open(path, writer=True, clock=lambda: next(moments)) as ledger:
        ledger.decide(
            DecisionDraft(
                kind="confirmed",
                phase="setup",
                reason=AWKWARD,
                who="a|b",
                unattended=True,
                context={"items": [AWKWARD, "1. one", "> two", "```", "---"]},
            )
        )
        for outcome in ("refused", "passed"):
            environment = {"kernel": "Linux 6", "tools": {"cc": "12"}, "components": ["a", "b"]}
            attempt = ledger.begin_attempt("search", "baseline", environment)
            verdict = Verdict.FAIL if outcome == "refused" else Verdict.PASS
            drafts = [
                DecisionDraft(
                    kind="refused", phase="search", reason="1 failed", who="gate",
                    context={"summary": "# Refused", "failed": ["x: too deep"]},
                )
            ]  # fmt: skip
            ledger.finish(
                attempt,
                outcome,
                judgements=[judgement(verdict), unmeasured()],
                decisions=drafts if outcome == "refused" else [],
            )
        ledger.decide(
            DecisionDraft(
                kind="advanced",
                phase="search",
                reason="every gate passed",
                who="someone",
                attempt=2,
                supersedes=2,
                context={"attempts": [2], "proof": ["search: answered"]},
            )
        )


def judgement(verdict: Verdict) -> Judgement:
    return Judgement(
        criterion="search.baseline.stack.peak",
        source="stack.peak <= 25% of stack.limit",
        check=Check.BASELINE,
        verdict=verdict,
        observed=2_841_728,
        limit=2_097_152,
        dimension=Dimension.BYTES,
        samples=25,
        operation="search",
        thread="main",
        instrument="watermark",
        evidence="results/search/attempt-001/watermark.json",
        reason="deeper than allowed | by far",
    )


def unmeasured() -> Judgement:
    return Judgement(
        criterion="search.baseline.rss.peak",
        source="rss.peak <= 1 GiB",
        check=Check.BASELINE,
        verdict=Verdict.ERROR,
        observed=NotMeasured(reason="perf is missing"),
        limit=1 << 30,
        dimension=Dimension.BYTES,
        samples=0,
        reason="perf is missing",
    )


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    build(tmp_path / "ledger.db")
    with Ledger.open(tmp_path / "ledger.db", writer=False) as opened:
        yield opened


def tokens(text: str) -> list[Token]:
    found = []
    for token in MARKDOWN.parse(text):
        found += [token, *(token.children or [])]
    return found


def rows(text: str) -> list[list[str]]:
    """The cells of every row of every table, as displayed."""
    found: list[list[str]] = []
    inside = False
    for token in MARKDOWN.parse(text):
        if token.type == "tr_open":
            found.append([])
        elif token.type in ("td_open", "th_open"):
            inside = True
        elif token.type in ("td_close", "th_close"):
            inside = False
        elif inside and token.type == "inline":
            found[-1].append("".join(child.content for child in token.children or []))
    return found


def test_the_same_ledger_gives_the_same_bytes(tmp_path: Path) -> None:
    logs = []
    for name in ("a", "b"):
        folder = tmp_path / name
        folder.mkdir()
        build(folder / "ledger.db")
        with Ledger.open(folder / "ledger.db", writer=False) as ledger:
            write_log(ledger, folder / "decisions")
        logs.append({p.name: p.read_bytes() for p in (folder / "decisions").iterdir()})
    assert logs[0] == logs[1]
    assert sorted(logs[0]) == [
        "0001-setup-confirmed.md",
        "0002-search-refused.md",
        "0003-search-advance.md",
        "CAMPAIGN.md",
        "README.md",
    ]


def test_every_link_leads_to_a_file_of_the_log(ledger: Ledger) -> None:
    files = render_log(ledger)
    links = [
        (name, token.attrs["href"])
        for name, text in files.items()
        for token in tokens(text)
        if token.type == "link_open"
    ]
    evidence = [target for _, target in links if str(target).startswith("../../results/")]
    assert "../../results/search/attempt-001/" in evidence
    links = [(name, target) for name, target in links if target not in evidence]
    assert len([name for name, _ in links if name != "CAMPAIGN.md"]) == 1 + 3 + 2
    assert {target for _, target in links} <= set(files)
    assert [target for name, target in links if name == "README.md"] == [
        "CAMPAIGN.md",
        *(file_name(decision) for decision in ledger.decisions()),
    ]


def test_what_supersedes_and_what_is_superseded_know_each_other(ledger: Ledger) -> None:
    files = render_log(ledger)
    later, earlier = files["0003-search-advance.md"], files["0002-search-refused.md"]
    assert ["supersedes", "0002"] in rows(later)
    assert "(0002-search-refused.md)" in later
    assert ["superseded by", "0003"] in rows(earlier)
    assert "(0003-search-advance.md)" in earlier


def test_a_refusal_shows_its_verdicts(ledger: Ledger) -> None:
    text = render_log(ledger)["0002-search-refused.md"]
    assert [
        "stack.peak <= 25% of stack.limit",
        "2.71 MiB (search main)",
        "2.00 MiB",
        "25",
        "watermark",
        "results/search/attempt-001/watermark.json",
        "FAIL",
    ] in rows(text)
    assert ["rss.peak <= 1 GiB", "not measured: perf is missing", "1.00 GiB", "0", "", "", "ERROR"] in rows(text)  # fmt: skip # noqa: E501
    assert "[results/search/attempt-001/](../../results/search/attempt-001/)" in text
    assert ["tools", "cc 12"] in rows(text)


def test_awkward_words_stay_where_they_belong(ledger: Ledger) -> None:
    for name, text in render_log(ledger).items():
        found = tokens(text)
        assert not [t for t in found if t.type.startswith(("html", "blockquote", "fence", "hr"))]
        headings = [t for t in found if t.type == "heading_open"]
        assert [t.tag for t in headings].count("h1") == 1, name
        assert all(line.strip() for line in re.findall(r"^#+ (.*)$", text, re.MULTILINE))
        widths = {tuple(len(row) for row in rows(text))}
        assert widths, name
    index = rows(render_log(ledger)["README.md"])
    assert {len(row) for row in index} == {6}
    (shown,) = (row[5] for row in index if row[0] == "0001")
    assert shown == "a | b | c `x|y` <b>bold</b> &lt; # not a heading - `lone"


def test_items_are_one_line_each(ledger: Ledger) -> None:
    text = render_log(ledger)["0001-setup-confirmed.md"]
    items = [t for t in MARKDOWN.parse(text) if t.type == "list_item_open"]
    assert len(items) == 5


awkward_text = st.text(
    alphabet=st.sampled_from([*"|`\\<>&;#*_-+=~![]().1\n\t \r\u2028é", *string.ascii_letters[:4]]),
    max_size=30,
)


@given(st.lists(st.tuples(awkward_text, awkward_text), min_size=1, max_size=4))
def test_no_text_leaves_its_cell(cells: list[tuple[str, str]]) -> None:
    text = "\n".join(table(["one", "two"], cells))
    kinds = [token.type for token in tokens(text)]
    assert kinds.count("tr_open") == len(cells) + 1
    assert kinds.count("td_open") == 2 * len(cells)
    assert kinds.count("table_open") == 1
    assert not [kind for kind in kinds if kind.startswith("html")]
    # A cell too many would be dropped in silence: what is shown last is what was written last.
    assert all(line.count("\n") == 0 for line in text.split("\n"))


@given(awkward_text)
def test_no_text_begins_a_block(text: str) -> None:
    kinds = {token.type for token in MARKDOWN.parse(escape(text))}
    assert kinds <= {"paragraph_open", "inline", "paragraph_close"}, escape(text)


def test_plain_words_are_not_changed() -> None:
    for text in ("fixed in 1.3", "`a <b> |c|` is code", "R&D said so", "3 of 4", "x - y", "a_b"):
        assert escape(text) == text


def test_writing_again_writes_nothing(ledger: Ledger, tmp_path: Path) -> None:
    folder = tmp_path / "docs" / "decisions"
    assert len(write_log(ledger, folder)) == 5
    before = {p: p.stat().st_mtime_ns for p in folder.iterdir()}
    assert write_log(ledger, folder) == ()
    assert {p: p.stat().st_mtime_ns for p in folder.iterdir()} == before
    (folder / "README.md").write_text("somebody's own words")
    assert write_log(ledger, folder) == (folder / "README.md",)


def test_a_check_names_what_was_edited_removed_or_invented(ledger: Ledger, tmp_path: Path) -> None:
    folder = tmp_path / "decisions"
    assert len(check_log(ledger, folder).missing) == 5  # nothing is written yet
    write_log(ledger, folder)
    (folder / "notes.md").write_text("somebody's own file is nobody's business")
    assert not check_log(ledger, folder)
    before = {p.name: p.read_bytes() for p in folder.iterdir()}
    edited, gone = folder / "0002-search-refused.md", folder / "CAMPAIGN.md"
    invented = folder / "0009-search-rolled-back.md"
    # One byte, at the end, where a reader would not see it.
    edited.write_bytes(edited.read_bytes() + b" ")
    gone.unlink()
    invented.write_text("")
    found = check_log(ledger, folder)
    assert (found.changed, found.missing, found.unknown) == ((edited,), (gone,), (invented,))
    assert write_log(ledger, folder) == (gone, edited)
    assert check_log(ledger, folder).unknown == (invented,)
    invented.unlink()
    assert not check_log(ledger, folder)
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == before


def test_a_failure_leaves_the_old_file_whole(ledger: Ledger, tmp_path: Path) -> None:
    folder = tmp_path / "decisions"
    write_log(ledger, folder)
    index = folder / "README.md"
    index.unlink()
    index.mkdir()  # a folder is nothing that a file can replace
    with pytest.raises(WorkspaceError, match=r"cannot be written"):
        write_log(ledger, folder)
    assert sorted(p.name for p in folder.iterdir()) == [
        "0001-setup-confirmed.md",
        "0002-search-refused.md",
        "0003-search-advance.md",
        "CAMPAIGN.md",
        "README.md",
    ]


def test_an_empty_ledger_has_an_index_without_rows(tmp_path: Path) -> None:
    with Ledger.open(tmp_path / "none.db", writer=False) as ledger:
        files = render_log(ledger)
    assert list(files) == ["README.md", "CAMPAIGN.md"]
    assert len(rows(files["README.md"])) == 1


def test_a_call_chain_is_code_even_after_a_list(tmp_path: Path) -> None:
    chain = ["deepest point", "    12  <b>walk</b> ``` \x1b[31m", "# no heading"]
    with Ledger.open(tmp_path / "ledger.db", writer=True) as ledger:
        ledger.decide(
            DecisionDraft(
                kind="refused", phase="search", reason="r", who="gate",
                context={"failed": ["x: too deep"], "chain": chain},
            )
        )  # fmt: skip
        text = render_log(ledger)["0001-search-refused.md"]
    (block,) = (token for token in MARKDOWN.parse(text) if token.type == "fence")
    assert block.content.splitlines() == [chain[0], chain[1].replace("\x1b", "\\x1b"), chain[2]]
    assert not [t for t in tokens(text) if t.type in ("html_block", "html_inline")]


def test_no_name_of_a_decision_leads_elsewhere(ledger: Ledger) -> None:
    forged = replace(ledger.decisions()[0], kind="../../../etc/" + "x" * 500, phase="/../y")
    name = file_name(forged)
    assert "/" not in name and len(name) < 200 and ".." not in name
