"""Whatever a text holds, Markdown made of it shows that text and is nothing else."""

from __future__ import annotations

import unicodedata

from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from reactivate.report.analysis.markup import code, link, prose, table
from reactivate.texts import visible
from tests.report.hostile import HOSTILE

MARKDOWN = MarkdownIt("commonmark").enable(["table", "strikethrough"])
TEXTS = (
    st.text(st.sampled_from("ab1 \\`*_{}[]()<>#+-.!|~&;=$\n\t\r\x00\x1b\u202e\u200bé")) | st.text()
)


def inline(markdown: str) -> list[tuple[str, str]]:
    """Types and contents of everything in a document of one paragraph."""
    tokens = MARKDOWN.parse(markdown)
    assert [t.type for t in tokens] in (
        [],
        ["paragraph_open", "inline", "paragraph_close"],
    ), markdown
    return [(c.type, c.content) for t in tokens for c in t.children or []]


@given(TEXTS)
@example(HOSTILE)
def test_prose_is_one_paragraph_of_plain_text(text: str) -> None:
    found = inline(prose(text))
    assert {kind for kind, _ in found} <= {"text", "text_special"}
    assert "".join(c for _, c in found) == visible(" ".join(text.split()))


@given(TEXTS.filter(lambda text: text != ""))
@example(HOSTILE)
def test_code_shows_exactly_the_text(text: str) -> None:
    (found,) = inline(code(text))
    assert found == ("code_inline", visible(text)) or not visible(text).strip(" ")


@given(TEXTS)
@example(HOSTILE)
def test_a_cell_stays_in_its_cell(text: str) -> None:
    lines = table(["a", "b", "c"], [[prose(text), code(text), "end"]])
    tokens = MARKDOWN.parse("\n".join(lines))
    cells = [t for i, t in enumerate(tokens) if i and tokens[i - 1].type == "td_open"]
    assert len(cells) == 3
    assert cells[2].content == "end"
    shown = "".join(child.content for child in cells[0].children or [])
    assert shown == visible(" ".join(text.split()))


@given(TEXTS)
@example(HOSTILE)
def test_nothing_a_terminal_or_editor_acts_on_is_left(text: str) -> None:
    kept = visible(text)
    assert not {unicodedata.category(c) for c in kept} & {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}


def test_a_link_goes_where_it_says() -> None:
    tokens = MARKDOWN.parse(link("a [b](c)", "../x y/(z)<q>.json"))
    (inline_token,) = (t for t in tokens if t.type == "inline")
    opened = [c for c in inline_token.children or [] if c.type == "link_open"]
    assert [c.attrs["href"] for c in opened] == ["../x%20y/%28z%29%3Cq%3E.json"]
