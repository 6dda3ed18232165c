"""The page: Markdown and pictures in, one HTML document without scripts out.

Everything said comes as Markdown that `reactivate.report.analysis.markup` has escaped; it is
turned into HTML here with raw HTML forbidden. So no element and no attribute comes from data.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from markdown_it import MarkdownIt
from markdown_it.token import Token

from reactivate.report.picture.svg import NOT_XML, STYLE, Picture, plain

_MARKDOWN: Final = MarkdownIt("commonmark", {"html": False}).enable("table").disable("image")
_DEEPEST_HEADING = 6
_STATES: Final = {
    "PASS": "good",
    "safe": "good",
    "as expected": "good",
    "active": "good",
    "FAIL": "bad",
    "refused": "bad",
    "died": "bad",
    "dangerous": "bad",
    "not as expected": "bad",
    "no": "bad",
    "INCONCLUSIVE": "look",
    "INVALID": "look",
    "ERROR": "look",
    "stale": "look",
    "rolled back": "look",
    "cannot be told": "look",
    "not measured": "look",
    "missing": "look",
    "changed": "look",
}
"""What the words of a verdict mean to the eye. The word itself always stands there too."""

_JUDGING: Final = frozenset({"verdict", "result", "state", "evidence today", "seen red"})
"""Columns whose cells are coloured by these words."""

_CSS: Final = """
:root{color-scheme:light dark;--ink:#1b1f24;--dim:#59636e;--paper:#fff;--line:#d4dae0;
--soft:#f5f7f9;--link:#0b57a4;--bad:#a3291c;--look:#7a5200;--good:#1f6b32}
@media screen and (prefers-color-scheme:dark){:root{--ink:#e6e9ec;--dim:#a5afb9;--paper:#14181c;
--line:#39424b;--soft:#1b2127;--link:#7db4ec;--bad:#ff8d80;--look:#e7b84a;--good:#6fcf84}}
*{box-sizing:border-box}
body{margin:0 auto;padding:1.5rem 1rem 4rem;max-width:74rem;background:var(--paper);
color:var(--ink);font:15px/1.5 system-ui,"Segoe UI","DejaVu Sans",sans-serif;
overflow-wrap:anywhere}
h1{font-size:1.7rem;line-height:1.25;margin:0 0 .5rem}
h2{font-size:1.3rem;margin:2.6rem 0 .6rem;padding-top:.6rem;border-top:2px solid var(--line)}
h3{font-size:1.08rem;margin:1.6rem 0 .4rem}h4,h5,h6{font-size:1rem;margin:1.2rem 0 .3rem}
a{color:var(--link)}p,ul{margin:.5rem 0}ul{padding-left:1.3rem}
code,pre{font:12.5px/1.45 ui-monospace,Menlo,Consolas,"DejaVu Sans Mono",monospace}
h1 code,h2 code,h3 code{font-size:.92em}
pre{background:var(--soft);border:1px solid var(--line);padding:.6rem .8rem;overflow-x:auto;
overflow-wrap:normal}
.wide{overflow-x:auto;margin:.6rem 0}
table{border-collapse:collapse;font-size:13px;font-variant-numeric:tabular-nums;
overflow-wrap:normal}
th,td{text-align:left;vertical-align:top;padding:.25rem .7rem .25rem 0;
border-bottom:1px solid var(--line);max-width:34rem}
thead th{color:var(--dim);font-weight:600;white-space:nowrap}
tbody th{font-weight:400}td:last-child,th:last-child{padding-right:0}
.bad{color:var(--bad);font-weight:600}.look{color:var(--look);font-weight:600}
.good{color:var(--good);font-weight:600}.dim{color:var(--dim)}
.verdict{border-left:8px solid var(--line);background:var(--soft);padding:.6rem 1rem;margin:1rem 0}
.verdict p:first-child{font-size:1.15rem;margin:0 0 .3rem}.verdict>:last-child{margin-bottom:0}
.verdict h2{font-size:1.05rem;margin:.9rem 0 .2rem;padding:0;border:0}
.good-side{border-color:var(--good)}.look-side{border-color:var(--look)}
.bad-side{border-color:var(--bad)}
.good-side p:first-child strong{color:var(--good)}.look-side p:first-child strong{color:var(--look)}
.bad-side p:first-child strong{color:var(--bad)}
.refusal{border-left:4px solid var(--bad);padding:.2rem 0 .2rem 1rem;margin:1.2rem 0}
figure{margin:1rem 0;overflow-x:auto}figure svg{display:block;width:100%;min-width:46rem}
figcaption{color:var(--dim);font-size:13px;margin-bottom:.4rem;position:sticky;left:0}
nav ul{list-style:none;padding:0;display:flex;flex-wrap:wrap;gap:.2rem 1.2rem}
details{margin:.6rem 0}summary{cursor:pointer;color:var(--link)}
:focus-visible{outline:2px solid var(--link);outline-offset:2px}
:target>*{background:var(--soft)}
@media print{body{max-width:none;padding:0;font-size:10pt}nav{display:none}
a{color:inherit;text-decoration:none}.wide,figure,pre{overflow:visible}
figure svg{min-width:0}table{font-size:7.5pt;overflow-wrap:anywhere}thead th{white-space:normal}
pre{white-space:pre-wrap}
figure,tr,.refusal li{break-inside:avoid}h2,h3,h4{break-after:avoid}
details::details-content{content-visibility:visible;height:auto}}
"""


def document(title: str, body: Iterable[str]) -> str:
    """The whole page.

    Args:
        title: plain text.
        body: HTML from the functions below.
    """
    head = (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width,initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        # Not even a fault of ours may load or run something.
        '<meta http-equiv="Content-Security-Policy" '
        "content=\"default-src 'none';style-src 'unsafe-inline'\">\n"
        f"<title>{plain(title)}</title>\n<style>{_CSS}{STYLE}</style>\n</head>\n<body>\n"
    )
    shown = NOT_XML.sub("\ufffd", "".join(body))
    return f"{head}<main>\n{shown}</main>\n</body>\n</html>\n"


def section(anchor: str, title: str, *content: str) -> str:
    """A part of the page that can be linked to.

    Args:
        anchor: of our own making, never data.
        title: Markdown.
        content: HTML.
    """
    heading = markdown([f"## {title}"])
    return f'<section id="{anchor}">\n{heading}{"".join(content)}</section>\n'


def navigation(links: Sequence[tuple[str, str]]) -> str:
    """Links to sections: anchor and plain text."""
    items = "".join(f'<li><a href="#{anchor}">{plain(text)}</a></li>' for anchor, text in links)
    return f'<nav aria-label="Contents"><ul>{items}</ul></nav>\n'


def verdict(kind: str, *content: str) -> str:
    """What the whole page comes to; kind is `good`, `look` or `bad`, and the words say it too."""
    return f'<div class="verdict {kind}-side">{"".join(content)}</div>\n'


def refusal(anchor: str, *content: str) -> str:
    """A refusal and what became of it; the anchor is of our own making, never data."""
    return f'<div class="refusal" id="{anchor}">{"".join(content)}</div>\n'


def folded(summary: str, *content: str) -> str:
    """Content that is shown when it is asked for, and always on paper; summary is plain text."""
    return f"<details><summary>{plain(summary)}</summary>\n{''.join(content)}</details>\n"


def figure(picture: Picture, caption: str) -> str:
    """A picture; caption is plain text. It can be moved sideways on a narrow screen."""
    return (
        f'<figure tabindex="0"><figcaption>{plain(caption)}</figcaption>\n'
        f"{picture.inline}</figure>\n"
    )


def markdown(lines: Sequence[str], *, deeper: int = 0) -> str:
    """HTML of escaped Markdown.

    Args:
        lines: the Markdown.
        deeper: by how many levels headings are lowered.
    """
    tokens: list[Token] = []
    table = _Table()
    for token in _MARKDOWN.parse("\n".join(lines)):
        if token.type in ("heading_open", "heading_close"):
            token.tag = f"h{min(_DEEPEST_HEADING, int(token.tag[1:]) + deeper)}"
        tokens += table.seen(token)
    return str(_MARKDOWN.renderer.render(tokens, _MARKDOWN.options, {}))


class _Table:
    """Gives tables their scrolling frame, headers their scope, and verdicts their class."""

    def __init__(self) -> None:
        self._headers: list[str] = []
        self._column = -1
        self._in_head = False
        self._cell: Token | None = None

    def seen(self, token: Token) -> list[Token]:
        """The token as it goes into the page, and what goes around it."""
        match token.type:
            case "table_open":
                self._headers = []
                return [_raw('<div class="wide" tabindex="0">\n'), token]
            case "table_close":
                return [token, _raw("</div>\n")]
            case "thead_open" | "thead_close":
                self._in_head = token.type == "thead_open"
            case "tr_open":
                self._column = -1
            case "th_open" | "td_open":
                self._column += 1
                self._cell = token
                self._begin(token)
            case "td_close" | "th_close":
                self._end(token)
            case "inline" if self._cell is not None:
                self._content(token)
        return [token]

    def _begin(self, token: Token) -> None:
        token.attrs = {}
        if self._in_head:
            token.attrs["scope"] = "col"
        elif self._column == 0:
            token.tag = "th"
            token.attrs["scope"] = "row"

    def _end(self, token: Token) -> None:
        if self._cell is not None:
            token.tag = self._cell.tag
        self._cell = None

    def _content(self, token: Token) -> None:
        assert self._cell is not None
        if self._in_head:
            self._headers.append(token.content)
            if not token.content:
                # An empty header names nothing.
                self._cell.tag, self._cell.attrs = "td", {}
            return
        known = self._column < len(self._headers) and self._headers[self._column]
        kind = _kind(token.content) if known in _JUDGING else ""
        if not kind and token.content.startswith("not measured"):
            kind = "look"
        if kind:
            self._cell.attrs["class"] = kind


def _kind(content: str) -> str:
    word = content.strip("*").partition(":")[0].partition(" (")[0].strip("*")
    return _STATES.get(word, "")


def _raw(html: str) -> Token:
    return Token("html_block", "", 0, content=html)
