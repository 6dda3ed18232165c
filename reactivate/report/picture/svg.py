"""What all pictures share: escaping, colours for light and dark, and the frame around a drawing."""

from __future__ import annotations

import html
import re
from dataclasses import dataclass
from typing import Final

from reactivate.texts import visible

WIDTH: Final = 960
"""Of every drawing, in its own units; a page scales it."""
CHARACTER: Final = 6.7
"""Upper estimate of a character's width at the font size of labels."""

NOT_XML: Final = re.compile("[\ufdd0-\ufdef\ufffe\uffff]")
"""Characters that are none; neither XML nor HTML may hold them."""

STYLE: Final = """
.rx{font:11px ui-monospace,Menlo,Consolas,"DejaVu Sans Mono",monospace}
.rx text{fill:#1b1f24}.rx .dim{fill:#59636e}.rx .axis{stroke:#59636e;fill:none}
.rx .span{fill:#f0f2f5;stroke:#d4dae0;stroke-width:.5}.rx rect{stroke-width:.75}
.rx .own{fill:#b5c9dd;stroke:#5f7d9b}.rx .ok{fill:#9fd3a9;stroke:#2c7a3f}
.rx .over{fill:#f0a59d;stroke:#a3291c}.rx .grew{fill:#d5b8ee;stroke:#7440a5}
.rx .shrank{fill:#93d6d6;stroke:#1d7373}.rx .line{stroke:#3b6ea5;fill:none}
.rx .budget{stroke:#1b1f24;stroke-width:1.5;fill:none}
.rx .limit{stroke:#1b1f24;stroke-dasharray:5 3;fill:none}
.rx .dead{stroke:#b3261e;stroke-width:2;fill:none}
.rx .point{fill:#3b6ea5;stroke:#fff;stroke-width:.75}
@media screen and (prefers-color-scheme:dark){.rx text{fill:#e6e9ec}.rx .dim{fill:#a5afb9}
.rx .axis{stroke:#a5afb9}.rx .span{fill:#20262c;stroke:#39424b}
.rx .own{fill:#34506d;stroke:#7d9dbd}.rx .ok{fill:#205c30;stroke:#5fb374}
.rx .over{fill:#7d2419;stroke:#ff8d80}.rx .grew{fill:#55317a;stroke:#bd92e6}
.rx .shrank{fill:#175a5a;stroke:#5cbcbc}.rx .line{stroke:#7db4ec}
.rx .budget,.rx .limit{stroke:#e6e9ec}.rx .dead{stroke:#ff8d80}
.rx .point{fill:#7db4ec;stroke:#14181c}}
"""
"""One colour, one meaning: red is over a budget or dead, green is within it; growth is violet,
shrinkage is teal, and both also carry a sign."""

_BACKGROUND = (
    "svg{background:#fff}@media screen and (prefers-color-scheme:dark){svg{background:#14181c}}"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A drawing, without any external resource.

    Attributes:
        title: what is seen.
        said: the same in a sentence, for those who do not see it.
        height: in units of the drawing.
        parts: its elements, well-formed already.
        data: attributes of the root, well-formed already.
    """

    title: str
    said: str
    height: float
    parts: tuple[str, ...]
    data: str = ""

    @property
    def inline(self) -> str:
        """For a page that holds `STYLE`."""
        return self._svg("")

    @property
    def file(self) -> str:
        """A whole file."""
        declared = '<?xml version="1.0" encoding="UTF-8"?>\n'
        return f"{declared}{self._svg(f'<style>{STYLE}{_BACKGROUND}</style>')}\n"

    def named(self, name: str) -> str:
        """A whole file that says its own name, so that it is known as made here.

        Args:
            name: of the file; letters, digits, `_`, `-` and `.` only.
        """
        return self.file.replace("<svg ", f'<svg data-file="{name}" ', 1)

    def _svg(self, style: str) -> str:
        extra = f" {self.data}" if self.data else ""
        body = "\n".join(self.parts)
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" class="rx" role="img"'
            f' aria-label="{plain(self.title)}"{extra}'
            f' viewBox="0 0 {WIDTH} {number(self.height)}">'
            f"<title>{plain(self.title)}</title><desc>{plain(self.said)}</desc>{style}\n"
            f"{body}\n</svg>"
        )


def plain(text: str) -> str:
    """Any text as the content or attribute of an XML element: shown, never obeyed."""
    return html.escape(NOT_XML.sub("\ufffd", visible(text)), quote=True)


def cut(text: str, width: float) -> str:
    """As much of a text as fits into a width of the drawing; "" if nothing useful does."""
    shown = visible(text)
    room = int(width / CHARACTER)
    if len(shown) <= room:
        return shown
    return shown[: room - 1] + "…" if room >= 4 else ""


def number(value: float) -> str:
    """A coordinate."""
    return f"{value:.1f}".rstrip("0").rstrip(".")


def rectangle(kind: str, x: float, y: float, width: float, height: float) -> str:
    """A rectangle of a class."""
    return (
        f'<rect class="{kind}" x="{number(x)}" y="{number(y)}" '
        f'width="{number(width)}" height="{number(height)}"/>'
    )


def label(text: str, x: float, y: float, *, kind: str = "", anchor: str = "") -> str:
    """A text at a place; `anchor` is `middle` or `end`, else it starts there."""
    if not text:
        return ""
    of = f' class="{kind}"' if kind else ""
    at = f' text-anchor="{anchor}"' if anchor else ""
    return f'<text{of} x="{number(x)}" y="{number(y)}"{at}>{plain(text)}</text>'
