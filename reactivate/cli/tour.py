"""`reactivate tour`: the whole story on the embedded filesystem, as a user would type it."""

from __future__ import annotations

import json
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from reactivate.cli.light import add_verb
from reactivate.errors import ExitCode, ReactivateError, UsageError, WorkspaceError

REFUSED_COMPONENT = "search_engine"
"""The component whose recursive walk goes over its budget in the shipped configuration."""


GATES_LEAN_ON = (
    "watermark", "memory", "latency", "growth", "lifecycle", "deepest", "smallest_stack",
)  # fmt: skip
"""The instruments of the shipped checklist's gates; the slow ones are asked for by none."""

_MOST_UNDECIDED = 4
"""How often in a row `next` may end undecided before the machine is called too busy."""

_TIDYING_SECONDS = 60.0
"""More than the longest unmounting and stopping of a daemon may take."""


class TourError(ReactivateError):
    """The story did not go as it must: the tool, the target or the machine is not as expected."""

    exit_code = ExitCode.BUG


class Narrator:
    """Types commands, checks their exit codes, and keeps what they printed."""

    def __init__(self, workspace: Path, *, keep: bool) -> None:
        self._workspace = workspace
        self._keep = keep
        self.transcript: list[str] = []

    def say(self, text: str) -> None:
        """A line of the story."""
        self._print(f"\n# {text}\n")

    def type(self, arguments: Sequence[str], *, expect: ExitCode = ExitCode.DONE) -> None:
        """Run `reactivate ARGUMENTS` in the workspace.

        Raises:
            TourError: it did not end with the exit code that the story needs.
        """
        self._print(f"$ reactivate {shlex.join(arguments)}\n")
        self._require(arguments, self._run(arguments), expect)

    def _require(self, arguments: Sequence[str], code: int, expect: ExitCode) -> None:
        if code == ExitCode.INTERRUPTED:
            raise KeyboardInterrupt
        if code != expect:
            raise TourError(
                f"`reactivate {shlex.join(arguments)}` ended with {code}, not {int(expect)}",
                why=f"the workspace is kept as it is: {self._workspace}",
                hint=f"cd {shlex.quote(str(self._workspace))} && reactivate status",
            )

    def go_on(self, *, expect: ExitCode) -> None:
        """Type `next` until the story is where it must be.

        Where a machine is busy, a duration may be undecided (exit 5): nothing has moved then, the
        attempt is on record, and the same command measures the same step again.

        Raises:
            TourError: another exit code, or undecided as often as `_MOST_UNDECIDED`.
        """
        command = ["next", "--until", "blocked", "--yes"]
        for _ in range(_MOST_UNDECIDED - 1):
            self._print(f"$ reactivate {shlex.join(command)}\n")
            code = self._run(command)
            if code != ExitCode.INCONCLUSIVE:
                self._require(command, code, expect)
                return
            self.say("Not decided, and nothing has moved: the same step once more.")
        self.type(command, expect=expect)

    def ask(self, arguments: Sequence[str]) -> dict[str, object]:
        """Run a command with `--json` and return its document."""
        done = subprocess.run(
            [*self._command(arguments), "--json"], capture_output=True, text=True, check=False
        )
        document: dict[str, object] = json.loads(done.stdout)
        return document

    def _command(self, arguments: Sequence[str]) -> list[str]:
        return [sys.executable, "-m", "reactivate", "-C", str(self._workspace), *arguments]

    def _run(self, arguments: Sequence[str]) -> int:
        sys.stdout.flush()
        command = self._command(arguments)
        if arguments[0] == "init":
            command = [sys.executable, "-m", "reactivate", *arguments]
        # In a group of its own: Ctrl-C reaches it once, through us.
        with subprocess.Popen(
            command, stdout=subprocess.PIPE if self._keep else None, text=True, process_group=0
        ) as process:
            try:
                for line in process.stdout or ():
                    self._print(line)
                return process.wait()
            except BaseException:
                _interrupt(process)
                raise

    def _print(self, text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()
        self.transcript.append(text)


def _interrupt(process: subprocess.Popen[str]) -> None:
    """Let a command unmount and record before it ends, as Ctrl-C lets it."""
    process.send_signal(signal.SIGINT)
    if process.stdout is not None:
        process.stdout.close()
    with suppress(subprocess.TimeoutExpired):
        process.wait(_TIDYING_SECONDS)


def register(app: typer.Typer) -> None:
    """Add the verb."""
    add_verb(app, tour, example="reactivate tour")


def tour(
    directory: Annotated[
        Path | None,
        typer.Argument(
            help="Workspace to make, or one that `init` has laid out, whose settings then hold; "
            "default: a new temporary folder.",
            show_default=False,
        ),
    ] = None,
    example: Annotated[
        Path | None,
        typer.Option(
            help="Also write transcript, decision log, analyses and report to this folder."
        ),
    ] = None,
) -> None:
    """Run a whole campaign on the embedded filesystem.

    One refusal, its fix and the retry included, in a workspace of its own.
    """
    from reactivate.target.scratch import kept_folder

    started = time.monotonic()
    folder = directory or kept_folder("tour")
    narrator = Narrator(folder, keep=example is not None)
    tell(narrator, folder)
    seconds = time.monotonic() - started
    if example is not None:
        _write_example(narrator, folder, example)
    typer.echo(f"\nThe whole story took {seconds:.0f} s.")
    typer.echo(f"report: {folder / 'results' / 'report' / 'index.html'}")
    typer.echo(f"decision log: {folder / 'docs' / 'decisions' / 'README.md'}")
    typer.echo(f"next: cd {shlex.quote(str(folder))} && reactivate status")


def tell(narrator: Narrator, folder: Path) -> None:
    """The story: baseline, one component, a refusal, a fix, a retry, and the rest.

    Raises:
        UsageError: the folder is a workspace in which something has happened already.
        TourError: the story did not go as it must.
    """
    if _laid_out(folder):
        narrator.say("A workspace that is laid out already: its own settings hold.")
    else:
        narrator.say("A workspace with the embedded filesystem as target.")
        narrator.type(["init", str(folder), "--target", "model", "--reduced"])
    narrator.say("What can this machine measure?")
    narrator.type(["doctor"])
    narrator.say(
        "Each instrument against programs whose depth is known, and against planted faults."
    )
    narrator.type(["calibrate", *(f"--only={name}" for name in GATES_LEAN_ON)])
    narrator.say("As far as the gates let us. Items for people are confirmed unattended.")
    narrator.go_on(expect=ExitCode.REFUSED)
    _must_be_refused(narrator)
    narrator.say("The search walks its index recursively. Where do we stand?")
    narrator.type(["status"])
    narrator.say("Would a larger stack do? The same search under two limits, on purpose.")
    overflow = ["overflow", "--scenario", "deep_recursion", "--reduced"]
    narrator.type(overflow, expect=ExitCode.REFUSED)
    narrator.say(
        "No: it grows with the request. The fix: the iterative walk, in the target's own file."
    )
    narrator.type(["target", "set", f"{REFUSED_COMPONENT}.implementation", "iterative"])
    narrator.type(["retry"])
    narrator.say("The same gates again, then the remaining components and all of them together.")
    narrator.go_on(expect=ExitCode.DONE)
    narrator.say("Every decision, readable without the tool.")
    narrator.type(["log", "--write"])
    narrator.say("The whole campaign as one page, with pictures.")
    narrator.type(["report"])
    narrator.say("The end.")
    narrator.type(["status"])
    _must_be_complete(narrator)


def _laid_out(folder: Path) -> bool:
    """Whether the folder is a workspace; not where its campaign has begun."""
    from reactivate.workspace import find

    with suppress(WorkspaceError):
        workspace = find(folder)
        if folder.exists() and workspace.root.samefile(folder):
            if workspace.ledger.exists():
                raise UsageError(
                    f"the workspace {folder} has a ledger already",
                    why="the tour is a campaign from its beginning",
                    hint="name a new folder",
                )
            return True
    return False


def _must_be_refused(narrator: Narrator) -> None:
    status = narrator.ask(["status"])
    if status.get("current") != REFUSED_COMPONENT or not status.get("failed"):
        _wrong(f"the refusal is not at {REFUSED_COMPONENT} but at {status.get('current')}")


def _must_be_complete(narrator: Narrator) -> None:
    status = narrator.ask(["status"])
    if status.get("state") != "complete":
        _wrong(f"the campaign is {status.get('state')}, not complete")


def _wrong(what: str) -> NoReturn:
    raise TourError(f"The tour went wrong: {what}", hint="reactivate status")


def _write_example(narrator: Narrator, folder: Path, example: Path) -> None:
    """Transcript, status, decision log, analyses and report, without the folder's name."""
    from reactivate.cli.example import write_pages

    narrator.ask(["report", "--component", REFUSED_COMPONENT])
    analyses = ["--baseline", "--component", REFUSED_COMPONENT, "--stack-overflow-analysis"]
    narrator.ask(["analyze", *analyses])
    write_pages(folder, example)
    text = "".join(narrator.transcript).replace(str(folder), "campaign")
    example.joinpath("tour.txt").write_text(text, encoding="utf-8")
    # The last of each: what a command printed, up to the next line of the story.
    for verb in ("status", "calibrate", "overflow"):
        at = text.rindex(f"$ reactivate {verb}")
        end = text.find("\n# ", at)
        part = text[at:] if end < 0 else text[at:end]
        example.joinpath(f"{verb}.txt").write_text(part, encoding="utf-8")
