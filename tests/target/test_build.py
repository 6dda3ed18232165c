from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import trio

from reactivate import procfs
from reactivate.errors import BuildError, MissingToolError, UsageError, WorkspaceError
from reactivate.evidence import Pid
from reactivate.target.build import build, order_components
from reactivate.target.config import load_target
from reactivate.target.model import ComponentSwitch, TargetSpec
from reactivate.workspace import Workspace
from tests.target.daemons import run_late, until

COMPONENTS = (
    ComponentSwitch(id="storage", needs=(), witness=""),
    ComponentSwitch(id="search", needs=("storage",), witness=""),
    ComponentSwitch(id="cache", needs=(), witness=""),
)


def target(tmp_path: Path, script: str, **changes: object) -> TargetSpec:
    spec = TargetSpec(
        name="test",
        path=tmp_path / "test.toml",
        title="Test",
        build=(("sh", "-c", script, "sh", "{build}", "{components}"),),
        build_timeout_seconds=60.0,
        artifact="{build}/artifact",
        run=("true", "{mountpoint}"),
        environment={"OWN": "{probes}", "LATER": "{mountpoint}"},
        mount_timeout_seconds=1.0,
        stop_timeout_seconds=1.0,
        configuration=None,
        components=COMPONENTS,
    )
    return replace(spec, **changes)  # type: ignore[arg-type]


WRITE = 'out=$1; shift; echo "$@" > $out/artifact; echo said'


def test_each_set_of_components_has_its_own_folder_and_digest(tmp_path: Path) -> None:
    spec, workspace = target(tmp_path, WRITE), Workspace(tmp_path)
    minimal = trio.run(build, spec, workspace, ())
    both = trio.run(build, spec, workspace, ("search", "storage"))
    assert both.components == ("storage", "search")
    assert both.artifact.read_text() == "storage search\n"
    assert both.artifact == workspace.builds / "test" / "storage+search" / "artifact"
    assert minimal.artifact == workspace.builds / "test" / "minimal" / "artifact"
    assert minimal.artifact.read_text() == "\n"
    assert minimal.artifact_sha256 != both.artifact_sha256
    assert len(both.artifact_sha256) == 64
    assert both.log.read_text() == "said\n"
    assert both.seconds > 0
    assert both.command[-2:] == ("storage", "search")
    assert both.configuration_sha256 == ""


def test_an_artifact_that_is_not_written_again_took_no_time(tmp_path: Path) -> None:
    spec = target(tmp_path, "test -e $1/artifact || echo x > $1/artifact")
    assert trio.run(build, spec, Workspace(tmp_path), ()).seconds > 0
    assert trio.run(build, spec, Workspace(tmp_path), ()).seconds == 0.0


def test_environment_is_explicit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEAKED", "1")
    built = trio.run(build, target(tmp_path, "env > $1/artifact"), Workspace(tmp_path), ())
    lines = built.artifact.read_text().splitlines()
    names = {line.partition("=")[0] for line in lines}
    assert f"OWN={tmp_path}/probes" in lines
    assert "LANG=C.UTF-8" in lines
    assert not names & {"LEAKED", "LATER"}


def test_a_failing_build_shows_the_compilers_own_lines(tmp_path: Path) -> None:
    script = "echo starting; echo 'core.c:3:5: error: expected ;' >&2; echo more; exit 2"
    with pytest.raises(BuildError, match="sh exited with status 2") as caught:
        trio.run(build, target(tmp_path, script), Workspace(tmp_path), ())
    assert caught.value.why == "core.c:3:5: error: expected ;"
    log = Path(caught.value.hint.removeprefix("less "))
    assert log.read_text() == "starting\ncore.c:3:5: error: expected ;\nmore\n"


def test_a_build_that_says_no_error_shows_its_end(tmp_path: Path) -> None:
    script = "for i in $(seq 100); do echo line $i; done; kill -TERM $$"
    with pytest.raises(BuildError, match="was killed by SIGTERM") as caught:
        trio.run(build, target(tmp_path, script), Workspace(tmp_path), ())
    assert caught.value.why.splitlines()[-1] == "line 100"


@pytest.mark.parametrize(
    ("said", "program", "package"),
    [
        ("make: cc: No such file or directory", "cc", "gcc"),
        ("/bin/sh: 1: gcc: not found", "gcc", "gcc"),
        ("Makefile:38: *** C compiler `cc` not found: install gcc.  Stop.", "cc", "gcc"),
        ("sh: line 3: cargo: command not found", "cargo", "cargo"),
    ],
)
def test_a_missing_compiler_is_named_with_its_package(
    tmp_path: Path, said: str, program: str, package: str
) -> None:
    spec = target(tmp_path, f"echo '{said}' >&2; exit 2")
    with pytest.raises(MissingToolError, match=f"^{program} is not installed") as caught:
        trio.run(build, spec, Workspace(tmp_path), ())
    assert caught.value.hint == f"sudo apt-get install {package}"


def test_a_missing_make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    spec = target(tmp_path, "", build=(("make", "-C", "{probes}"),))
    with pytest.raises(MissingToolError, match=r"^make is not installed") as caught:
        trio.run(build, spec, Workspace(tmp_path), ())
    assert caught.value.hint == "sudo apt-get install make"


def test_a_real_makefile_without_a_compiler(
    project_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("make", "sh", "mkdir", "cmp", "mv", "rm"):
        found = next(p for p in map(Path, ("/usr/bin", "/bin")) if (p / name).exists())
        (tools / name).symlink_to(found / name)
    monkeypatch.setenv("PATH", str(tools))
    spec = load_target(project_root / "configs" / "targets" / "model.toml")
    (tmp_path / "probes").symlink_to(project_root / "probes")
    with pytest.raises(MissingToolError, match=r"^g?cc is not installed"):
        trio.run(build, spec, Workspace(tmp_path), ())


def test_no_artifact(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match="left no artifact"):
        trio.run(build, target(tmp_path, "true"), Workspace(tmp_path), ())


def test_a_slow_build_is_killed_with_all_it_started(tmp_path: Path) -> None:
    script = "sleep 1000 & echo $! > $1/part; mv $1/part $1/pid; wait"
    spec = target(tmp_path, script, build_timeout_seconds=0.5)
    pidfile = Workspace(tmp_path).builds / "test" / "minimal" / "pid"
    with pytest.raises(BuildError, match=r"not finished after 0\.5 s"):
        run_late(partial(build, spec, Workspace(tmp_path), ()), pidfile.exists)
    assert_ended(pidfile)


def test_a_cancelled_build_is_killed_with_all_it_started(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    pidfile = workspace.builds / "test" / "minimal" / "pid"
    script = "touch $TMPDIR/left; echo $TMPDIR > $1/temporary; sleep 1000 & "
    spec = target(tmp_path, script + "echo $! > $1/part; mv $1/part $1/pid; wait")

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(build, spec, workspace, ())
            await until(pidfile.exists)
            nursery.cancel_scope.cancel()

    trio.run(main)
    assert_ended(pidfile)
    temporary = Path(pidfile.with_name("temporary").read_text().strip())
    assert temporary.parent == workspace.run.resolve()
    assert list(workspace.run.iterdir()) == []


def assert_ended(pidfile: Path) -> None:
    pid = Pid(int(pidfile.read_text()))
    trio.run(until, lambda: not procfs.process_runs(pid))


def test_a_target_that_is_not_built_here(tmp_path: Path) -> None:
    spec = target(tmp_path, "", build=(), artifact="sh", components=())
    built = trio.run(build, spec, Workspace(tmp_path), ())
    assert built.artifact.is_file()
    assert built.seconds == 0.0
    assert built.command == ()
    absent = replace(spec, artifact="no-such-daemon")
    with pytest.raises(MissingToolError, match="no-such-daemon is not installed"):
        trio.run(build, absent, Workspace(tmp_path), ())


def test_a_workspace_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "results").touch()
    with pytest.raises(WorkspaceError, match="build folder"):
        trio.run(build, target(tmp_path, WRITE), Workspace(tmp_path), ())


def test_order_and_needs(tmp_path: Path) -> None:
    spec = target(tmp_path, "")
    assert order_components(spec, ["cache", "search", "storage", "cache"]) == (
        "storage", "search", "cache",
    )  # fmt: skip
    with pytest.raises(UsageError, match="no component `serch`; did you mean `search`"):
        order_components(spec, ["serch"])
    with pytest.raises(UsageError, match="`search` needs `storage`"):
        order_components(spec, ["search"])


def test_the_model_is_reproducible_and_each_component_changes_it(
    project_root: Path, tmp_path: Path
) -> None:
    spec = load_target(project_root / "configs" / "targets" / "model.toml")
    digests = []
    for name in ("one", "two"):
        root = tmp_path / name
        root.mkdir()
        (root / "probes").symlink_to(project_root / "probes")
        built = trio.run(build, spec, Workspace(root), ("vector_storage",))
        digests.append(built.artifact_sha256)
    assert digests[0] == digests[1]
    minimal = trio.run(build, spec, Workspace(tmp_path / "one"), ())
    assert minimal.artifact_sha256 != digests[0]
    assert minimal.configuration_sha256 != built.configuration_sha256
    assert minimal.artifact.is_absolute()
