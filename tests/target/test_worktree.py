"""The tool's own copy of a checkout: the user's is never written to."""

from __future__ import annotations

import hashlib
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import trio

from reactivate.errors import BuildError
from reactivate.evidence import Pid
from reactivate.procfs import process_runs
from reactivate.target.build import build
from reactivate.target.reap import reap
from reactivate.target.source import changed_since, fingerprint_of, prepare
from reactivate.workspace import Workspace
from tests.target.fiveways import ROOT, git, written
from tests.waiting import until

PATCH = """\
--- a/core.c
+++ b/core.c
@@ -1,3 +1,3 @@
-one
+ONE
 two
 three
@@ -10,3 +10,3 @@
 ten
-eleven
+ELEVEN
 twelve
"""
NUMBERS = [
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
]


@pytest.fixture
def user(tmp_path: Path) -> Path:
    """A checkout in a folder with an unusual name."""
    folder = tmp_path / "Über den Wolken"
    folder.mkdir()
    (folder / "core.c").write_text("\n".join(NUMBERS) + "\n")
    (folder / ".gitignore").write_text("*.o\n")
    git(folder, "init", "--quiet")
    git(folder, "add", "-A")
    git(folder, "commit", "--quiet", "-m", "all")
    return folder


@pytest.fixture
def patch(tmp_path: Path) -> Path:
    path = tmp_path / "numbers.patch"
    path.write_text(PATCH)
    return path


def photograph(folder: Path) -> dict[str, tuple[int, int, str]]:
    """Every file and folder, .git included: mode, time of change, content."""
    found = {}
    for path in sorted(folder.rglob("*")):
        stat = path.lstat()
        content = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
        found[str(path.relative_to(folder))] = (stat.st_mode, stat.st_mtime_ns, content)
    return found


def test_patches_are_applied_to_a_copy(user: Path, patch: Path, tmp_path: Path) -> None:
    # An index that git would refresh if it were allowed to: git compares whole seconds.
    os.utime(user / "core.c", (1_700_000_000, 1_700_000_000))
    before = photograph(user)
    made = prepare(user, tmp_path / "copy", [patch])
    assert (made.folder / "core.c").read_text().split()[::10] == ["ONE", "ELEVEN"]
    assert made.commit == git(user, "rev-parse", "HEAD").strip()
    assert made.uncommitted == ()
    plain = prepare(user, tmp_path / "copy", [])
    assert (plain.folder / "core.c").read_text().split() == NUMBERS
    assert plain.fingerprint != made.fingerprint
    assert photograph(user) == before


def test_a_copy_that_is_as_it_should_be_is_not_touched(user: Path, tmp_path: Path) -> None:
    made = prepare(user, tmp_path / "copy", [])
    first = photograph(tmp_path / "copy")
    assert prepare(user, tmp_path / "copy", []) == made
    assert photograph(tmp_path / "copy") == first


def test_uncommitted_changes_are_in_the_copy_and_told(user: Path, tmp_path: Path) -> None:
    clean = prepare(user, tmp_path / "copy", [])
    (user / "core.c").write_text("changed\n")
    (user / "new.c").write_text("new\n")
    (user / "junk.o").write_text("ignored\n")
    before = photograph(user)
    made = prepare(user, tmp_path / "copy", [])
    assert made.uncommitted == ("core.c", "new.c")
    assert (made.folder / "core.c").read_text() == "changed\n"
    assert (made.folder / "new.c").read_text() == "new\n"
    assert not (made.folder / "junk.o").exists()
    assert made.fingerprint != clean.fingerprint
    assert photograph(user) == before
    git(user, "checkout", "--quiet", ".")
    (user / "new.c").unlink()
    assert prepare(user, tmp_path / "copy", []).fingerprint == clean.fingerprint
    assert not (made.folder / "new.c").exists()


def test_a_folder_in_a_checkout(user: Path, tmp_path: Path) -> None:
    (user / "sub").mkdir()
    (user / "sub" / "deep.c").write_text("deep\n")
    made = prepare(user / "sub", tmp_path / "copy", [])
    assert (made.folder / "deep.c").read_text() == "deep\n"


def test_a_patch_that_does_not_apply_names_hunk_and_commit(
    user: Path, patch: Path, tmp_path: Path
) -> None:
    text = (user / "core.c").read_text().replace("eleven", "elf")
    (user / "core.c").write_text(text)
    git(user, "commit", "--quiet", "-am", "another")
    commit = git(user, "rev-parse", "HEAD").strip()
    with pytest.raises(BuildError) as caught:
        prepare(user, tmp_path / "copy", [patch])
    assert caught.value.what == (
        "the patch numbers.patch does not apply: hunk 2 of 2 in core.c, line 10"
    )
    assert f"against commit {commit[:12]}" in caught.value.why
    # What was begun is not mistaken for what was asked for.
    assert (prepare(user, tmp_path / "copy", []).folder / "core.c").read_text() == text


def test_what_is_no_checkout(tmp_path: Path, user: Path) -> None:
    with pytest.raises(BuildError, match="there is no source folder"):
        prepare(tmp_path / "nowhere", tmp_path / "copy", [])
    (tmp_path / "plain").mkdir()
    with pytest.raises(BuildError, match="is no git checkout") as caught:
        prepare(tmp_path / "plain", tmp_path / "copy", [])
    assert "not a git repository" in caught.value.why
    git(tmp_path / "plain", "init", "--quiet")
    with pytest.raises(BuildError, match="has no commit yet"):
        prepare(tmp_path / "plain", tmp_path / "copy", [])


BUILD = """\
title = "copied"
source = "{source}"
artifact = "{{build}}/core"
[build]
commands = [["sh", "-c", "{script}", "sh", "{{source}}", "{{build}}"]]
[run]
command = ["true", "{{mountpoint}}"]
[[component]]
id = "numbers"
patch = "configs/patches/numbers.patch"
"""


def a_target(root: Path, user: Path, script: str) -> None:
    patches = root / "configs" / "patches"
    patches.mkdir(parents=True)
    (patches / "numbers.patch").write_text(PATCH)
    written(root, BUILD.format(source=user, script=script))


@pytest.mark.root
@pytest.mark.usefixtures("needs_root")
def test_a_checkout_of_another_user_is_not_called_none(
    user: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    monkeypatch.delenv("SUDO_UID", raising=False)
    for path in (user, user / ".git"):
        os.chown(path, 65534, 65534)
    with pytest.raises(BuildError, match="belongs to another user") as caught:
        prepare(user, tmp_path / "copy", [])
    assert caught.value.hint == f"git config --global --add safe.directory {shlex.quote(str(user))}"


@pytest.mark.root
@pytest.mark.usefixtures("needs_root")
def test_what_the_settings_of_a_checkout_name_runs_with_its_owners_rights(
    user: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("COUNT", "1"), ("KEY_0", "safe.directory"), ("VALUE_0", "*")):
        monkeypatch.setenv(f"GIT_CONFIG_{name}", value)  # root has said that it trusts them all
    with tempfile.TemporaryDirectory() as open_to_all:
        folder = Path(open_to_all)
        folder.chmod(0o755)
        theirs = shutil.copytree(user, folder / "theirs")
        (theirs / ".gitattributes").write_text("* filter=own\n")
        (theirs / "core.c").write_text("changed\n")
        git(theirs, "config", "filter.own.clean", "id -u >> .git/ran; cat")
        for path in (theirs, *theirs.rglob("*")):
            os.chown(path, 65534, 65534)
        assert "core.c" in changed_since(theirs, "HEAD")
        fingerprint_of(theirs, [])
        assert set((theirs / ".git" / "ran").read_text().split()) == {"65534"}


def test_git_is_the_same_in_every_shell(
    user: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_COMMON_DIR", "GIT_CEILING_DIRECTORIES",
                 "GIT_EXEC_PATH", "GIT_NAMESPACE"):  # fmt: skip
        monkeypatch.setenv(name, str(tmp_path / "nowhere"))
    monkeypatch.setenv("GIT_TRACE", str(tmp_path / "trace"))
    monkeypatch.setenv("GIT_EXTERNAL_DIFF", "false")
    monkeypatch.setenv("GIT_DIFF_OPTS", "--unified=0")
    prepare(user, tmp_path / "copy", [])
    assert changed_since(user, "HEAD") == ()
    assert not (tmp_path / "trace").exists()


def test_a_kill_in_the_middle_leaves_the_checkout_as_it_was(user: Path, tmp_path: Path) -> None:
    root = tmp_path / "workspace"
    # The build says that it has begun and then waits for its end.
    a_target(root, user, "echo torn > $1/core.c; touch $TMPDIR/left; sleep 1000 & "
             "echo $! > $2/part; mv $2/part $2/begun; wait")  # fmt: skip
    before = photograph(user)
    code = (
        "import trio; from pathlib import Path; from reactivate.workspace import Workspace;"
        "from reactivate.target.config import load_target;"
        "from reactivate.target.build import build;"
        f"r = Path({str(root)!r}); s = load_target(r / 'configs/targets/own.toml');"
        "trio.run(build, s, Workspace(r), ('numbers',))"
    )
    process = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT)
    begun = root / "results" / "build" / "own" / "numbers" / "begun"

    try:
        until(lambda: begun.exists() or process.poll() is not None, "the build begins")
        assert process.poll() is None
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert photograph(user) == before
    # What the killed one started is ended by the next call.
    sleeper = Pid(int(begun.read_text()))
    assert process_runs(sleeper)
    assert reap(Workspace(root))
    assert not process_runs(sleeper)
    assert list(Workspace(root).run.iterdir()) == []
    # The next build starts from the user's state, not from what the killed one left.
    written(root, BUILD.format(source=user, script="cp $1/core.c $2/core"))
    from reactivate.target.config import load_target

    spec = load_target(root / "configs" / "targets" / "own.toml")
    built = trio.run(build, spec, Workspace(root), ("numbers",))
    assert built.artifact.read_text().split()[:2] == ["ONE", "two"]
    assert photograph(user) == before


def test_nothing_is_built_twice_and_what_changed_is_built(user: Path, tmp_path: Path) -> None:
    root = tmp_path / "workspace"
    a_target(root, user, "cp $1/core.c $2/core; echo built")
    from reactivate.target.config import load_target

    spec = load_target(root / "configs" / "targets" / "own.toml")
    workspace = Workspace(root)
    first = trio.run(build, spec, workspace, ())
    again = trio.run(build, spec, workspace, ())
    assert (first.cached, again.cached) == (False, True)
    assert again.artifact_sha256 == first.artifact_sha256
    assert again.log.read_text() == "built\n"
    assert trio.run(build, spec, workspace, ("numbers",)).artifact_sha256 != first.artifact_sha256
    assert trio.run(build, spec, workspace, ()).cached
    first.artifact.write_text("somebody else's")
    assert trio.run(build, spec, workspace, ()).artifact_sha256 == first.artifact_sha256
    (user / "core.c").write_text("changed\n")
    changed = trio.run(build, spec, workspace, ())
    assert not changed.cached
    assert changed.artifact.read_text() == "changed\n"
    assert changed.commit.endswith("+")
