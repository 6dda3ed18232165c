"""`reactivate verify` on a real daemon: green, skipped if nothing changed, red if it regressed."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from reactivate.errors import ExitCode
from reactivate.ledger import Ledger
from tests.cli.workspaces import BINDFS, CHECKLIST, Here, Make, begun
from tests.target.fiveways import checkout, git, needs_libfuse, target

PLAIN = CHECKLIST.replace(', "vector"', "").replace("25%", "10%")
OWN = BINDFS.partition("[[component]]")[0]

ACTIVE = ("baseline", "vector_storage", "all_components")

DEEP = """\
static __attribute__((noinline)) void prepare_rows(void)
{
\tvolatile char rows[3u << 20];
\tfor (size_t i = 0; i < sizeof(rows); i += 64)
\t\trows[i] = 1;
}

/* What reading the file gives. */
"""


def test_nothing_to_verify_is_said(here: Here) -> None:
    begun(here.workspace)
    done = here("verify")
    assert done.code == ExitCode.USAGE
    assert "no phase of the checklist is active yet" in done.err
    assert "next: reactivate next, or reactivate verify --all" in done.err


@pytest.mark.fuse
@pytest.mark.slow(20)
@pytest.mark.usefixtures("needs_fuse", "needs_root")
def test_a_regression_is_refused_by_name(make: Make, tmp_path: Path) -> None:
    needs_libfuse()
    here = make(checklist=PLAIN, target=OWN)
    source = checkout(tmp_path / "source")
    target(here.root, "arguments", source, names=("vector_storage",))
    assert here("next", "--until", "blocked", "--yes").code == ExitCode.DONE
    before = here("status", "--json").json()

    skipped = here("verify", "--since", "HEAD")
    assert skipped.code == ExitCode.DONE
    assert "Nothing had to be measured: the source is as it was at HEAD" in skipped.out
    assert here("verify", "--since", "no-such-commit").code == ExitCode.USAGE

    # What is stale is measured before anything else is done.
    (source / "README").write_text("new\n")
    assert "the target's source" in here("status").out
    done = here("next", "--json")
    assert done.code == ExitCode.DONE, done
    green = done.json()["verified"]
    assert {gate["phase"] for gate in green["gates"]} == set(ACTIVE)
    assert {gate["ending"] for gate in green["gates"]} == {"verified"}
    assert 0 < sum(gate["seconds"] for gate in green["gates"]) < green["seconds"] + 1

    git(source, "add", "README")
    git(source, "commit", "--quiet", "-m", "more")
    plant(source)
    summary, junit = here.root / "summary.md", here.root / "verify.xml"
    red = here("verify", "--since", "HEAD", "--summary", str(summary), "--junit", str(junit))
    assert red.code == ExitCode.REFUSED, red
    assert "Refused by the baseline gate of vector_storage" in red.out
    text = summary.read_text()
    assert re.search(
        r"FAIL, operation `\w+`, thread `main`: 3\.\d+ MiB against 819 KiB"
        r"; before: .+ \(attempt 2\)",
        text,
    ), text
    assert "Most bytes: `prepare_rows: 3,145," in text
    root = ElementTree.parse(junit).getroot()
    failed = [case for case in root.iter("testcase") if case.find("failure") is not None]
    assert {case.get("classname") for case in failed} >= {"vector_storage.baseline"}
    assert int(root.get("failures", 0)) == len(failed)
    assert root.find("testsuite[@name='baseline']/testcase/failure") is None

    after = here("status", "--json").json()
    assert "FAILED with exit 3" in after["verified"]
    assert after["state"] == before["state"] == "complete"
    states = [phase["verdicts"] for phase in after["phases"]]
    assert states == [phase["verdicts"] for phase in before["phases"]]
    # What the campaign refers to is its own evidence still.
    with Ledger.open(here.workspace.ledger, writer=False) as ledger:
        own = ledger.latest_attempt("vector_storage", "baseline")
        assert own is not None
        assert own.outcome == "advanced"
    assert git(source, "status", "--short") == " M fiveways.c\n"


def plant(source: Path) -> None:
    """A frame of 3 MiB in every operation, while the component is on."""
    path = source / "fiveways.c"
    text = path.read_text().replace("/* What reading the file gives. */\n", DEEP)
    start = "\tsize_t length = strlen(node->path);\n\n\t*bytes = node->bytes;\n"
    assert start in text
    text = text.replace(start, f"{start}\tif (components[0].on)\n\t\tprepare_rows();\n")
    path.write_text(text)
