"""A whole campaign whose tool is killed again and again: nothing lost, nothing left, same end.

SIGKILL comes after a random time, when something appears (a compiler, a mount, a journal, a
tracer), or at the n-th system call of a kind, which `strace` counts and replaces by the signal.
The next call of the same command goes on, until the campaign is complete.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from reactivate.errors import ExitCode
from reactivate.ledger import Ledger
from reactivate.report.decision_log import render_log
from reactivate.workspace import Workspace
from tests.reliability.leftovers import (
    control_groups,
    descendants,
    digest,
    half_written,
    living_children,
    mounts,
    temporary,
)
from tests.reliability.records import Recorded, lost, outcome, read
from tests.reliability.small_campaign import lay_out
from tests.waiting import ended, until

_UNDECIDED = {ExitCode.INCONCLUSIVE, ExitCode.ENVIRONMENT}
_MOST_DISTURBED = 20
_MOST_STUCK = 4
_AGAIN = "again"
_CALL_SECONDS = 600.0
_SETTLE_SECONDS = 20.0
_LOOK_SECONDS = 0.0005
_COMPILERS = {"make", "cc", "gcc", "cc1", "as", "ld", "collect2"}

SYSTEM_CALLS = (
    "fsync,fdatasync", "pwrite64", "rename,renameat,renameat2", "unlink,unlinkat", "mkdir,mkdirat",
    "rmdir", "openat", "ftruncate", "flock", "fcntl", "write", "sendto", "pidfd_send_signal,kill",
    "clone,clone3,vfork,fork",
)  # fmt: skip
"""At each of these something outside the process changes, or is about to."""


@dataclass(slots=True)
class Watch:
    """A running tool, as its killer sees it."""

    pid: int
    workspace: Workspace
    below: dict[int, str] = field(default_factory=dict)
    decisions_at: int = 0

    def look(self) -> None:
        self.below = descendants(self.pid)

    def has(self, *types: str) -> bool:
        found = mounts(self.workspace.run).values()
        return any(each.endswith(tuple(f"({kind})" for kind in types)) for each in found)


def _changed(watch: Watch) -> bool:
    folder = watch.workspace.decisions
    now = folder.stat().st_mtime_ns if folder.is_dir() else 0
    before, watch.decisions_at = watch.decisions_at, now
    return now != before


PLACES: dict[str, Callable[[Watch], bool]] = {
    "build": lambda w: bool(_COMPILERS & set(w.below.values())),
    "daemon prepared": lambda w: any(name.startswith("python") for name in w.below.values()),
    "mounted": lambda w: w.has("fuse.fiveways", "fuse"),
    "fault planted": lambda w: w.has("tmpfs"),
    "unmounting": lambda w: bool({"fusermount3", "umount"} & set(w.below.values())),
    "boxed": lambda w: bool(control_groups({w.pid})),
    "tracing": lambda w: "bpftrace" in w.below.values(),
    "commit": lambda w: (w.workspace.root / "ledger.db-journal").exists(),
    "decision log": _changed,
}
"""Where a kill may fall: the moment in which a condition becomes true."""

_OFTEN = {"mounted": 12, "unmounting": 8, "commit": 20, "daemon prepared": 12, "decision log": 4}


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """The campaign that nobody disturbs."""

    seconds: float
    calls: dict[str, int]
    outcome: dict[str, object]
    finished: Counter[tuple[str, str]]


@dataclass(slots=True)
class Tally:
    """What came of all kills."""

    seed: int
    kills: Counter[str] = field(default_factory=Counter)
    campaigns: int = 0
    running: int = 0
    left: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    disturbed: list[str] = field(default_factory=list)
    """What the machine, or others on it, kept from being measured: exit 5 or 6 of a whole call."""

    @property
    def total(self) -> int:
        return sum(self.kills.values())


class Killer:
    """Runs campaigns in a folder of its own. Its process must be a `sole_ancestor`."""

    def __init__(self, folder: Path, seed: int, *, whole: bool) -> None:
        self._whole = whole
        self._end = ExitCode.DONE if whole else ExitCode.REFUSED
        self.folder = folder.resolve()
        self.random = random.Random(seed)
        self.tally = Tally(seed=seed)
        self._temporary = self.folder / "tmp"
        self._temporary.mkdir()
        self._words = self.folder / "words"
        self._workspace = Workspace(self.folder / "w")
        self._tools: set[int] = set()
        self._stuck = 0

    def undisturbed(self) -> Reference:
        """Run the campaign once without a kill; under `strace`, which counts system calls."""
        self._workspace = lay_out(self.folder, whole=self._whole)
        trace = self.folder / "calls"
        begun = time.monotonic()
        traced = ["strace", "-D", "-qq", "-o", str(trace), "-e", f"trace={','.join(SYSTEM_CALLS)}"]
        process = self._start(traced)
        process.wait(_CALL_SECONDS)
        assert process.returncode == self._end, self._words.read_text()
        seconds = time.monotonic() - begun
        names = Counter(line.partition("(")[0] for line in trace.read_text().splitlines())
        left = self._left(final=True)
        assert not left, left
        return Reference(
            seconds=seconds,
            calls={each: sum(names[name] for name in each.split(",")) for each in SYSTEM_CALLS},
            outcome=outcome(self._workspace.ledger),
            finished=self._read().finished,
        )

    def campaign(self, reference: Reference, most_kills: int) -> None:
        """Run one campaign to its end, killing the tool up to so many times on the way."""
        tally = self.tally
        tally.campaigns += 1
        self._workspace = lay_out(self.folder, whole=self._whole)
        untouched = digest(self.folder / "user")
        before, owed, running, kills = Recorded(), _Owed(self._temporary), 0, 0
        while True:
            place = self._run(reference) if kills < most_kills else self._run_to_the_end()
            if place == _AGAIN:
                continue
            after = self._read()
            for each in lost(before, after):
                self._wrong(f"{each} after: {place or 'a whole call'}")
            if len(after.events) > len(before.events) or place is None:
                # It has recorded something, so it had cleaned up before.
                for each in owed.still_there(self._workspace):
                    self._wrong(f"{each} is left of an earlier call")
                owed = _Owed(self._temporary)
                if before.running and before.running[0] in after.running:
                    self._wrong("an attempt that was killed is still on record as running")
            if place is None:
                before = after
                break
            kills += 1
            # A step that takes longer than calls are left alive is to be reached the end of, too.
            done = after.finished != before.finished
            self._stuck = 0 if done else min(self._stuck + 1, _MOST_STUCK)
            tally.kills[place] += 1
            running += len(after.running) > 0 and after.running != before.running
            if len(after.running) > 1:
                self._wrong(f"{len(after.running)} attempts are running after: {place}")
            owed.note(self._workspace, self._tools, tally.left)
            before = after
        self._check_end(reference, before, running, untouched)

    def _check_end(
        self, reference: Reference, recorded: Recorded, running: int, untouched: str
    ) -> None:
        self.tally.running += running
        for each in self._left(final=True):
            self._wrong(f"{each} is left in the end")
        if recorded.running or recorded.interrupted != running:
            self._wrong(
                f"{recorded.interrupted} attempts are interrupted, {running} were running at a kill"
            )
        if recorded.finished != reference.finished:
            more = {k: n for k, n in recorded.finished.items() if n != reference.finished[k]}
            self._wrong(f"finished otherwise than undisturbed: {more}")
        came_to = outcome(self._workspace.ledger)
        for key, value in reference.outcome.items():
            if came_to[key] != value:
                self._wrong(f"{key} differ from the undisturbed campaign: {came_to[key]}")
        with Ledger.open(self._workspace.ledger, writer=False) as ledger:
            log = render_log(ledger)
        folder = self._workspace.decisions
        written = {path.name: path.read_text(encoding="utf-8") for path in folder.iterdir()}
        if written != log:
            names = sorted(n for n in {*log, *written} if log.get(n) != written.get(n))
            self._wrong(f"the decision log is not what the ledger says: {', '.join(names)}")
        if digest(self.folder / "user") != untouched:
            self._wrong("the user's checkout was changed")

    def _run(self, reference: Reference) -> str | None:
        """One call that is to be killed; where it was, or None if it came to its end."""
        kind = self.random.choice(["time", "place", "place", "system call"])
        place, strace, condition, number = "time", [], None, 0
        if kind == "system call":
            place = self.random.choice([k for k, n in reference.calls.items() if n])
            # Most calls of a killed campaign come later; those at its beginning come every time.
            number = round(reference.calls[place] ** self.random.random())
            strace = ["strace", "-D", "-qq", "-o", "/dev/null", "-e", f"trace={place}"]
            strace += ["-e", f"inject={place}:signal=SIGKILL:when={number}"]
            place = f"system call {place.partition(',')[0]}"
        elif kind == "place":
            place = self.random.choice(list(PLACES))
            condition, number = PLACES[place], self.random.randint(1, _OFTEN.get(place, 2))
        # What does not come is not waited for until the campaign is over.
        seconds = self.random.uniform(0.0, 0.35 * reference.seconds * 2**self._stuck)
        delay = self.random.choice([0.0, self.random.uniform(0.0, 0.05)])
        process = self._start(strace)
        watch = Watch(process.pid, self._workspace)
        if _wait_for(condition, number, watch, process, seconds):
            ended(process, seconds=delay)
        elif process.poll() is None:
            place = "time"
        process.kill()
        return self._ended(process, place)

    def _run_to_the_end(self) -> str | None:
        return self._ended(self._start(), "")

    def _ended(self, process: subprocess.Popen[bytes], place: str) -> str | None:
        process.wait(_CALL_SECONDS)
        if process.returncode == -signal.SIGKILL:
            return place
        if process.returncode in _UNDECIDED and len(self.tally.disturbed) < _MOST_DISTURBED:
            self.tally.disturbed.append(self._words.read_text())
            return _AGAIN
        # A kill between the record of a refusal and the exit: the next call waits for a person.
        told = (
            {ExitCode.REFUSED, ExitCode.WAITING} if self._end == ExitCode.REFUSED else {self._end}
        )
        if process.returncode not in told:
            self._wrong(f"a call ended with {process.returncode}: {self._words.read_text()}")
        for each in self._left(final=False):
            self._wrong(f"{each} is left by a whole call")
        return None

    def _start(self, prefix: Sequence[str] = ()) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "reactivate", "-C", str(self._workspace.root)]
        command += ["next", "--yes", "--until", "blocked"]
        with self._words.open("wb") as words:
            process = subprocess.Popen(
                [*prefix, *command], stdin=subprocess.DEVNULL, stdout=words, stderr=words,
                start_new_session=True, env={**os.environ, "TMPDIR": str(self._temporary)},
            )  # fmt: skip
        # With -D it is strace that is the child of the tool, not the other way round.
        self._tools.add(process.pid)
        return process

    def _left(self, *, final: bool) -> list[str]:
        """What is there after a call that came to its end; in the end, half written files too."""
        # What was killed a moment ago may need one to end; strace ends after what it traced.
        with contextlib.suppress(AssertionError):
            until(lambda: not living_children(), seconds=_SETTLE_SECONDS)
        left = living_children()
        left += mounts(self.folder).values()
        run = self._workspace.run
        left += [f"folder {path.name}" for path in (run.iterdir() if run.is_dir() else ())]
        left += temporary(self._temporary)
        left += [f"control group {path}" for path in control_groups(self._tools)]
        if final:
            left += half_written(self._workspace.root)
        return left

    def _read(self) -> Recorded:
        return read(self._workspace.ledger, self.folder / "scratch")

    def _wrong(self, what: str) -> None:
        self.tally.wrong.append(f"campaign {self.tally.campaigns}: {what}")


def _wait_for(
    condition: Callable[[Watch], bool] | None,
    number: int,
    watch: Watch,
    process: subprocess.Popen[bytes],
    seconds: float,
) -> bool:
    """Whether the condition has become true so many times, before the time or the call was over."""
    deadline, was = time.monotonic() + seconds, True
    while time.monotonic() < deadline:
        if condition is not None:
            watch.look()
            now = condition(watch)
            number -= now and not was
            if number == 0:
                return True
            was = now
        if ended(process, seconds=_LOOK_SECONDS):
            break
    return False


class _Owed:
    """What a kill has left, and the next call must remove; each by what makes it unique."""

    def __init__(self, temporary: Path) -> None:
        self._folder = temporary
        self._temporary: set[str] = set()
        self._mounts: dict[tuple[str, str], str] = {}
        self._folders: set[str] = set()
        self._groups: set[Path] = set()
        self._processes: set[str] = set()

    def note(self, workspace: Workspace, tools: set[int], left: Counter[str]) -> None:
        here = mounts(workspace.root)
        run = workspace.run
        folders = {path.name for path in run.iterdir()} if run.is_dir() else set()
        groups = set(control_groups(tools))
        processes = set(living_children())
        left["mount"] += len(here.keys() - self._mounts.keys())
        left["run folder"] += len(folders - self._folders)
        left["control group"] += len(groups - self._groups)
        files = set(temporary(self._folder))
        left["temporary folder"] += len(files - self._temporary)
        self._temporary |= files
        self._mounts |= here
        self._folders |= folders
        self._groups |= groups
        self._processes |= {p for p in processes if "(strace)" not in p}

    def still_there(self, workspace: Workspace) -> list[str]:
        here = mounts(workspace.root)
        run = workspace.run
        found = [text for mount, text in self._mounts.items() if mount in here]
        found += [f"folder {name}" for name in self._folders if (run / name).exists()]
        found += [f"control group {path}" for path in self._groups if path.exists()]
        found += sorted(self._temporary & set(temporary(self._folder)))
        return found + sorted(self._processes & set(living_children()))


def kill_campaigns(
    folder: Path,
    *,
    seed: int,
    kills: int,
    whole: bool = True,
    say: Callable[[Tally], None] = lambda _: None,
) -> Tally:
    """Campaigns until so many kills have fallen; what came of them.

    Args:
        folder: a new one.
        whole: see `lay_out`.
        say: told after each campaign.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if shutil.which("strace") is None:
        raise FileNotFoundError("strace is not installed (Debian package strace)")
    killer = Killer(folder, seed, whole=whole)
    reference = killer.undisturbed()
    while killer.tally.total < kills:
        killer.campaign(reference, kills - killer.tally.total)
        say(killer.tally)
    return killer.tally
