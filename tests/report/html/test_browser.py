"""The report in a real browser: it fits, prints, is dark at night, and asks for nothing."""

from __future__ import annotations

import json
import os
import re
import struct
import subprocess
import zlib
from itertools import pairwise
from pathlib import Path

import pytest

from reactivate.ledger import Ledger
from reactivate.report.decision_log import write_log
from reactivate.report.html.report import Folders, render_report, write_report
from tests.report import hostile

QUESTIONS = """<script>
const box = (e) => { const r = e.getBoundingClientRect(); return [r.left, r.right, r.height]; };
const luminance = (colour) => {
  const part = colour.match(/[0-9.]+/g).slice(0, 3).map((v) => v / 255)
    .map((v) => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
  return 0.2126 * part[0] + 0.7152 * part[1] + 0.0722 * part[2];
};
const contrast = (a, b) => {
  const [low, high] = [luminance(a), luminance(b)].sort((x, y) => x - y);
  return (high + 0.05) / (low + 0.05);
};
const paper = getComputedStyle(document.body).backgroundColor;
const words = [...document.querySelectorAll('p,a,th,td,h1,h2,h3,summary,figcaption')];
parent.postMessage(JSON.stringify({
  inner: innerWidth,
  scroll: document.documentElement.scrollWidth,
  asked: performance.getEntriesByType('resource').length,
  figures: [...document.querySelectorAll('figure')].map(box),
  svgs: [...document.querySelectorAll('figure svg')].map(box),
  sections: [...document.querySelectorAll('section')].map(box),
  headings: [...document.querySelectorAll('h1,h2,h3,h4,h5,h6')].map((h) => +h.tagName[1]),
  unnamed: document.querySelectorAll('svg:not([aria-label])').length,
  headless: [...document.querySelectorAll('table')].filter((t) => !t.querySelector('th')).length,
  contrast: Math.min(...words.map((w) => contrast(getComputedStyle(w).color, paper))),
}), '*');
</script>"""
FRAME = """<!DOCTYPE html><meta name="color-scheme" content="light dark">
<script>onmessage = (e) => document.body.setAttribute('data-answers', e.data);</script>
<body><iframe src="asking.html" width="{width}" height="900" style="border:0"></iframe>"""
"""A window is never narrower than 500; a frame is."""


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("campaign")
    hostile.build(root)
    with Ledger.open(root / "ledger.db", writer=False) as ledger:
        write_log(ledger, root / "docs" / "decisions")
    folders = Folders(
        ledger=root / "ledger.db",
        results=root / "results",
        decisions=root / "docs" / "decisions",
        page=root / "results" / "report" / "index.html",
    )
    write_report(render_report(folders, stale={}), folders.page, folders.page.parent)
    return folders.page


def browse(page: Path, *arguments: str) -> str:
    """Open a file without any network; what the browser printed."""
    command = [
        "chromium", "--headless", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars",
        "--no-first-run", "--disable-background-networking", "--disable-extensions",
        # Whatever it might want to fetch would have to go through nobody.
        "--proxy-server=127.0.0.1:9", "--host-resolver-rules=MAP * ~NOTFOUND",
        f"--user-data-dir={page.parent / 'profile'}",
        *(["--no-sandbox"] if os.geteuid() == 0 else []),
        *arguments, page.as_uri(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return done.stdout


def answers(page: Path, width: int, *arguments: str) -> dict[str, object]:
    """What the page measures of itself; a copy of it, that may run a script, in a frame."""
    text = page.read_text(encoding="utf-8")
    policy = re.search(r'<meta http-equiv="Content-Security-Policy"[^>]*>', text)
    assert policy
    page.with_name("asking.html").write_text(
        text.replace(policy[0], "").replace("</body>", f"{QUESTIONS}</body>"), encoding="utf-8"
    )
    frame = page.with_name("frame.html")
    frame.write_text(FRAME.format(width=width), encoding="utf-8")
    dom = browse(frame, "--dump-dom", "--virtual-time-budget=5000", *arguments)
    found = re.search(r'data-answers="([^"]*)"', dom)
    assert found, dom[:500]
    said: dict[str, object] = json.loads(found[1].replace("&quot;", '"'))
    return said


@pytest.mark.parametrize("width", [400, 1200])
def test_nothing_overflows_and_everything_has_a_name(
    page: Path, needs_chromium: None, width: int
) -> None:
    dark = ["--blink-settings=preferredColorScheme=0"] if width == 400 else []
    found = answers(page, width, "--window-size=1300,1000", *dark)
    assert found["inner"] == width
    assert found["scroll"] == width
    assert found["asked"] == 0
    assert found["unnamed"] == found["headless"] == 0
    assert found["contrast"] >= 4.5  # type: ignore[operator]
    for kind in ("figures", "sections", "svgs"):
        boxes = found[kind]
        assert isinstance(boxes, list)
        assert boxes
        for left, right, height in boxes:
            assert height > 20
            assert left >= 0
            assert right <= width or kind == "svgs"
    levels = found["headings"]
    assert isinstance(levels, list)
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(now <= before + 1 for before, now in pairwise(levels))


def test_it_is_drawn_in_light_and_in_darkness_and_on_paper(
    page: Path, needs_chromium: None
) -> None:
    shot, printed = page.with_name("shot.png"), page.with_name("page.pdf")
    for scheme, paper in (("1", (255, 255, 255)), ("0", (20, 24, 28))):
        setting = f"--blink-settings=preferredColorScheme={scheme}"
        browse(page, setting, "--window-size=600,800", f"--screenshot={shot}")
        pixels = read_png(shot)
        assert (len(pixels[0]), len(pixels)) == (600, 800)
        assert pixels[2][2] == paper
        # Words and pictures are all over it, not in one corner.
        for at in range(0, 800, 200):
            assert len({colour for row in pixels[at : at + 200] for colour in row[::7]}) > 5
    browse(page, f"--print-to-pdf={printed}", "--no-pdf-header-footer")
    content = printed.read_bytes()
    assert content.startswith(b"%PDF-")
    assert content.count(b"/Type /Page\n") + content.count(b"/Type /Page ") >= 2


def read_png(path: Path) -> list[list[tuple[int, ...]]]:
    """Rows of pixels; eight bits a channel, as browsers write them."""
    data = path.read_bytes()
    width, height, bits, kind = struct.unpack(">IIBB", data[16:26])
    channels = {2: 3, 6: 4}[kind]
    assert bits == 8
    packed, at = b"", 8
    while at < len(data):
        (length,) = struct.unpack(">I", data[at : at + 4])
        if data[at + 4 : at + 8] == b"IDAT":
            packed += data[at + 8 : at + 8 + length]
        at += 12 + length
    raw, size = zlib.decompress(packed), width * channels
    rows, above = [], bytearray(size)
    for y in range(height):
        start = y * (size + 1)
        above = _unfiltered(
            raw[start], bytearray(raw[start + 1 : start + 1 + size]), above, channels
        )
        rows.append([tuple(above[x : x + 3]) for x in range(0, size, channels)])
    return rows


def _unfiltered(kind: int, row: bytearray, above: bytearray, step: int) -> bytearray:
    for x in range(len(row)) if kind else ():
        left = row[x - step] if x >= step else 0
        corner = above[x - step] if x >= step else 0
        match kind:
            case 1:
                guess = left
            case 2:
                guess = above[x]
            case 3:
                guess = (left + above[x]) // 2
            case _:
                guess = _paeth(left, above[x], corner)
        row[x] = (row[x] + guess) & 255
    return row


def _paeth(left: int, above: int, corner: int) -> int:
    guess = left + above - corner
    return min((left, above, corner), key=lambda each: abs(guess - each))
