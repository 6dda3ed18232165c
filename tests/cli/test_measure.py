"""`reactivate measure` on real daemons, as a user types it."""

from __future__ import annotations

import shutil
import signal
import subprocess
from pathlib import Path

import pytest
from guest_verbs import command, environment, reactivate
from guests import bindfs, left_by, running_bindfs

from reactivate.errors import ExitCode
from reactivate.procfs import fuse_mount_at
from reactivate.workload.suites import SUITES
from tests.waiting import PATIENCE_SECONDS, until

fuse = pytest.mark.fuse

POSIX = {operation.name for operation in SUITES["posix"]}


@fuse
def test_every_operation_of_a_daemon_has_its_row(tmp_path: Path, needs_fuse: None) -> None:
    bindfs(tmp_path)
    done = reactivate(
        "measure", "--repeats", "3", "--", "bindfs", "-f", "src", "mnt", folder=tmp_path
    )
    assert done.code == 0, done.err
    lines = done.out.splitlines()
    assert lines[0].startswith("bindfs · pid ")
    assert "1 thread · limit " in lines[0]
    rows = {line.split()[0] for line in lines[3 : 3 + len(POSIX)]}
    assert rows == POSIX
    assert "bound: exact for bytes written" in done.out
    assert lines[-1].startswith("next: reactivate trace --operation ")
    assert lines[-1].endswith(" -- bindfs -f src mnt")
    assert left_by(tmp_path) == []


@fuse
@pytest.mark.parametrize("options", [["-f"], ["-f", "--multithreaded"], []])
def test_json_has_the_numbers_in_bytes(
    tmp_path: Path, needs_fuse: None, options: list[str]
) -> None:
    done = reactivate(
        "measure", "--json", "--repeats", "3", "--", *bindfs(tmp_path, *options), folder=tmp_path
    )
    assert done.code == 0, done.err
    document = done.json
    assert document["schema"] == "reactivate.measure/1"
    assert {row["operation"] for row in document["operations"]} == POSIX
    thread = "worker" if "--multithreaded" in options else "main"
    for row in document["operations"]:
        idle = document["idle_bytes"][thread]
        assert row["thread"] == thread
        assert row["samples"] == 3
        assert 0 < row["below_idle_bytes"] < 16_384
        assert row["deepest_bytes"] <= idle + row["below_idle_bytes"]
        assert row["share_of_limit"] == row["deepest_bytes"] / row["limit_bytes"]
    assert left_by(tmp_path) == []


@fuse
def test_attached_by_pid_or_mount_it_is_left_running(tmp_path: Path, needs_fuse: None) -> None:
    with running_bindfs(tmp_path) as pid:
        own = tmp_path / "src" / "own"
        own.write_text("kept")
        for options in (["--pid", str(pid), "--mount", "mnt"], ["--mount", "mnt"]):
            done = reactivate("measure", "--repeats", "2", *options, folder=tmp_path)
            assert done.code == 0, done.err
            assert f"pid {pid}" in done.out
        assert [path.name for path in (tmp_path / "mnt").iterdir()] == ["own"]


@fuse
def test_a_script_is_a_workload(tmp_path: Path, needs_fuse: None) -> None:
    script = tmp_path / "work.sh"
    script.write_text("#!/bin/sh\necho x > file && rm file\n")
    script.chmod(0o755)
    done = reactivate(
        "measure", "--json", "--repeats", "2", "--workload", "work.sh", "--",
        *bindfs(tmp_path, "-f"), folder=tmp_path,
    )  # fmt: skip
    assert [row["operation"] for row in done.json["operations"]] == ["work"]
    done = reactivate(
        "measure", "--repeats", "1", "--workload", "work.sh", "--", *bindfs(tmp_path, "-f"),
        folder=tmp_path,
    )  # fmt: skip
    # What comes next is typed as it stands, so it names the script, too.
    assert done.out.splitlines()[-1].startswith(
        "next: reactivate trace --operation work --workload work.sh -- "
    )
    script.write_text("#!/bin/sh\necho 'no room' >&2; exit 3\n")
    done = reactivate(
        "measure", "--workload", "work.sh", "--", *bindfs(tmp_path, "-f"), folder=tmp_path
    )
    assert done.code == 5
    assert "exited with status 3: no room" in done.err
    assert left_by(tmp_path) == []


@fuse
@pytest.mark.parametrize("options", [["-f"], []])
def test_ctrl_c_leaves_nothing(tmp_path: Path, needs_fuse: None, options: list[str]) -> None:
    with subprocess.Popen(
        command("measure", "--repeats", "100000", "--", *bindfs(tmp_path, *options)),
        env=environment(), stderr=subprocess.PIPE, text=True,
    ) as tool:  # fmt: skip
        until(lambda: any((tmp_path / "src").glob("reactivate-*/on-*")))
        tool.send_signal(signal.SIGINT)
        _, said = tool.communicate(timeout=PATIENCE_SECONDS)
    assert tool.returncode == 130
    assert "[exit 130]" in said
    assert left_by(tmp_path) == []


@fuse
def test_too_short_a_deadline_ends_it_cleanly(tmp_path: Path, needs_fuse: None) -> None:
    done = reactivate(
        "measure", "--deadline", "0.4", "--repeats", "100000", "--", *bindfs(tmp_path, "-f"),
        folder=tmp_path,
    )  # fmt: skip
    assert done.code == 6
    assert "was not finished after 0.4 s" in done.err
    assert "next: reactivate measure --deadline 0.8 -- " in done.err
    assert left_by(tmp_path) == []


@fuse
def test_a_daemon_that_ends_while_we_look(tmp_path: Path, needs_fuse: None) -> None:
    with subprocess.Popen(bindfs(tmp_path, "-f")) as daemon:
        until(lambda: fuse_mount_at(tmp_path / "mnt") is not None, "it is mounted")
        with subprocess.Popen(
            command("measure", "--repeats", "100000", "--pid", str(daemon.pid)),
            env=environment(), cwd=tmp_path, stderr=subprocess.PIPE, text=True,
        ) as tool:  # fmt: skip
            until(lambda: any((tmp_path / "src").glob("reactivate-*/on-*")))
            daemon.kill()
            _, said = tool.communicate(timeout=PATIENCE_SECONDS)
        subprocess.run(["fusermount3", "-uz", "mnt"], cwd=tmp_path, check=False)
    assert tool.returncode == 6
    assert "he daemon ended in a way that was not seen during" in said


@fuse
def test_a_thread_that_never_sleeps_is_named(tmp_path: Path, needs_fuse: None) -> None:
    """A real daemon with a busy thread put into it by the dynamic linker."""
    if shutil.which("cc") is None:
        pytest.skip("no C compiler (Debian package build-essential)")
    (tmp_path / "busy.c").write_text(
        "#include <pthread.h>\n"
        'static void *spin(void *p) { for (;;) __asm__ volatile(""); return p; }\n'
        "__attribute__((constructor)) static void begin(void) {\n"
        '  pthread_t t; pthread_create(&t, 0, spin, 0); pthread_setname_np(t, "busy"); }\n'
    )
    subprocess.run(
        ["cc", "-D_GNU_SOURCE", "-shared", "-fPIC", "-o", "busy.so", "busy.c", "-pthread"],
        cwd=tmp_path, check=True,
    )  # fmt: skip
    done = reactivate(
        "measure", "--deadline", "1", "--", "env", f"LD_PRELOAD={tmp_path / 'busy.so'}",
        *bindfs(tmp_path, "-f"), folder=tmp_path,
    )  # fmt: skip
    assert done.code == 5, done.err
    assert "(busy)" in done.err
    assert "did not fall asleep within 0.5 s" in done.err
    assert left_by(tmp_path) == []


def test_bad_command_lines_say_what_to_type(tmp_path: Path) -> None:
    for arguments, word in (
        ((), "measure what?"),
        (("--", "no-such-daemon"), "no program"),
        (("--pid", "4194301"), "no process"),
        (("--mount", "."), "not a FUSE mount"),
        (("--pid", "1", "--", "true"), "exclude each other"),
        (("--suite", "posx", "--", "true"), "did you mean `posix`"),
        (("--suite", "posix", "--workload", "x", "--", "true"), "exclude each other"),
        (("--workload", "absent", "--", "true"), "no script"),
        (("--repeats", "0", "--", "true"), "--repeats must be more than 0"),
        (("--deadline", "-1", "--", "true"), "--deadline must be more than 0"),
        (("--exec",), "--exec needs a program"),
        (("--exec", "--pid", "1", "--", "true"), "--exec takes a program"),
    ):
        done = reactivate("measure", *arguments, folder=tmp_path)
        assert done.code == 2, (arguments, done)
        assert word in done.err, (arguments, done.err)
        assert done.out == ""


def test_errors_are_json_when_asked_for(tmp_path: Path) -> None:
    done = reactivate("measure", "--json", "--", "no-such-daemon", folder=tmp_path)
    assert done.code == 2
    assert done.json["schema"] == "reactivate.error/1"
    assert done.json["exit_code"] == 2


def test_the_programs_own_json_option_is_the_programs(tmp_path: Path) -> None:
    done = reactivate("measure", "--exec", "echo", "--json", folder=tmp_path)
    assert done.code == 0
    assert done.err.splitlines()[0] == "--json"
    assert done.out.startswith("echo · pid ")


def test_help_has_an_example(tmp_path: Path) -> None:
    done = reactivate("measure", "--help", folder=tmp_path)
    assert done.code == 0
    assert "reactivate measure -- bindfs -f src mnt" in done.out


@fuse
def test_a_suite_that_the_daemon_cannot_do_leaves_nothing(tmp_path: Path, needs_fuse: None) -> None:
    """The corpus of the searches, too, is in the folder that goes."""
    done = reactivate(
        "measure", "--suite", "search", "--repeats", "1", "--", *bindfs(tmp_path, "-f"),
        folder=tmp_path,
    )  # fmt: skip
    assert done.code == ExitCode.INCONCLUSIVE, done
    assert "not a line of an answer" in done.err
    assert list((tmp_path / "src").iterdir()) == []
    assert left_by(tmp_path) == []
