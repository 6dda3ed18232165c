"""Each way of switching: what it changes, what its digest says, what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import trio

from reactivate.errors import BuildError, ConfigurationError
from reactivate.target.build import build
from reactivate.target.command import build_depends, build_folder, effect_of
from reactivate.target.configuration import command_text, configuration_sha256, switched_sha256
from reactivate.target.elf_facts import elf_facts, function_offset
from reactivate.target.own_witness import OwnWitness
from reactivate.workspace import Workspace
from tests.target.fiveways import WAYS, target, text, written

ONE = ("vector_storage",)


@pytest.mark.parametrize("way", WAYS)
def test_evidence_is_bound_to_the_switch(tmp_path: Path, way: str) -> None:
    spec = target(tmp_path, way, tmp_path)
    off, on = switched_sha256(spec, ()), switched_sha256(spec, ONE)
    both = switched_sha256(spec, (*ONE, "cache_manager"))
    if way in ("build", "patch"):
        # The artifact says it.
        assert off == on == both == ""
        assert build_depends(spec)
    else:
        assert len({off, on, both}) == 3
        assert not build_depends(spec)
        folders = {build_folder(Workspace(tmp_path), spec, names) for names in ((), ONE)}
        assert len(folders) == 1, "what is the same is built once"


def test_the_embedded_filesystem_keeps_its_digest(project_root: Path) -> None:
    from reactivate.target.config import load_target

    spec = load_target(project_root / "configs" / "targets" / "model.toml")
    assert switched_sha256(spec, ONE) == configuration_sha256(spec.configuration, ONE)


def test_what_each_way_does(tmp_path: Path) -> None:
    effects = {way: effect_of(target(tmp_path, way, tmp_path), ONE) for way in WAYS}
    assert effects["arguments"].arguments == ("--vector_storage",)
    assert effects["environment"].environment == {"FIVEWAYS_VECTOR_STORAGE": "1"}
    assert effects["build"].features == ONE
    assert effects["configuration"].settings["vector_storage.enabled"] is True
    assert effects["configuration"].settings["cache_manager.enabled"] is False
    assert [path.name for path in effects["patch"].patches] == ["vector_storage.patch"]


def test_the_users_configuration_is_copied_with_its_comments(tmp_path: Path) -> None:
    spec = replace(
        target(tmp_path, "configuration", tmp_path), source=None,
        build=(("sh", "-c", "echo x > $1/fiveways", "sh", "{build}"),),
    )  # fmt: skip
    before = (tmp_path / "configs" / "fiveways.toml").read_bytes()
    trio.run(build, spec, Workspace(tmp_path), ONE)
    copy = (tmp_path / "results" / "build" / "own" / "vector_storage.toml").read_text()
    assert copy == before.decode().replace(
        "[vector_storage]\nenabled = false", "[vector_storage]\nenabled = true"
    )
    assert "# vector_storage is off" in copy
    assert (tmp_path / "configs" / "fiveways.toml").read_bytes() == before
    assert command_text(spec, ONE) != command_text(spec, ())


@pytest.mark.parametrize(
    ("way", "old", "new", "fault"),
    [
        ("arguments", '["--cache_manager"]', '["{nme}"]', "unknown field {nme}"),
        ("arguments", '["--cache_manager"]', '["{source}"]', "unknown field {source}"),
        ("arguments", '["--cache_manager"]', '"x"', "`component.4.arguments` must be a list"),
        ("environment", "FIVEWAYS_CACHE_MANAGER", '"A=B"', "cannot be an environment variable"),
        ("environment", '= "1"', "= 1", "must be text"),
        ("build", "{features}", "", "`feature` changes nothing"),
        ("configuration", "cache_manager.enabled", "cache_manger.enabled", "did you mean"),
        ("configuration", "off = false", 'off = "no"', "two values of one kind"),
        ("configuration", '"{configuration}"', '"x"', "`setting` changes nothing"),
        ("patch", "cache_manager.patch", "other.patch", "there is no patch"),
        ("patch", "source = ", "# ", "`patch` needs a `source`"),
        ("patch", "source = ", "# ", "names {source}, but the file has no `source`"),
        ("patch", 'threads = "main"', 'threads = "many"', '"main" or "pool"'),
        ("patch", "{build}/fiveways", "{source}/fiveways", "unknown field {source}"),
        ("patch", 'content = "ab"', 'content = "abab"', "proves nothing"),
        ("patch", 'expect = "abab"', 'expect = ""', "proves nothing"),
        ("patch", '"w.twice"', '"../w"', "inside of the mount"),
        ("patch", "witness_operation", 'witness = "x"\nwitness_operation', "one witness"),
        ("patch", '"cache_manager"', '"metadata_manager"', "comes twice"),
    ],
)  # fmt: skip
def test_each_fault_has_its_line(tmp_path: Path, way: str, old: str, new: str, fault: str) -> None:
    content = text(way, tmp_path)
    assert old in content
    with pytest.raises(ConfigurationError) as caught:
        written(tmp_path, content.replace(old, new, 1))
    lines = [line for line in caught.value.why.splitlines() if fault in line]
    assert lines, caught.value.why
    number = int(lines[0].split(":")[1])
    changed = content.replace(old, new, 1).splitlines()
    assert 1 <= number <= len(changed)


def test_an_artifact_for_another_processor(tmp_path: Path) -> None:
    head = bytearray(Path("/bin/sh").resolve().read_bytes()[:64])
    head[18:20] = (243).to_bytes(2, "little")
    (tmp_path / "foreign").write_bytes(head)
    spec = replace(
        target(tmp_path, "arguments", tmp_path), source=None,
        build=(("cp", str(tmp_path / "foreign"), "{build}/fiveways"),),
    )  # fmt: skip
    with pytest.raises(BuildError, match="is not for this machine") as caught:
        trio.run(build, spec, Workspace(tmp_path), ())
    assert "riscv64" in caught.value.why


def test_a_build_that_fails_shows_the_compilers_errors(tmp_path: Path) -> None:
    (tmp_path / "bad.c").write_text("int main(void) { return no_such_name; }\n")
    spec = replace(
        target(tmp_path, "arguments", tmp_path), source=None,
        build=(("cc", "-o", "{build}/fiveways", str(tmp_path / "bad.c")),),
    )  # fmt: skip
    with pytest.raises(BuildError) as caught:
        trio.run(build, spec, Workspace(tmp_path), ())
    assert "no_such_name" in caught.value.why


def test_facts_are_read_from_the_artifact(tmp_path: Path) -> None:
    import subprocess

    source, program = tmp_path / "a.c", tmp_path / "a"
    source.write_text("int one(int x) { return x + 1; }\nint main(void) { return one(1) - 2; }\n")

    def compiled(*flags: str) -> Path:
        subprocess.run(["cc", *flags, "-o", str(program), str(source)], check=True)
        return program

    debug = elf_facts(compiled("-g", "-O0", "-fno-omit-frame-pointer", "-Wl,--build-id"))
    assert debug.debug_information == "yes"
    assert debug.optimisation == "-O0"
    assert isinstance(debug.build_id, str)
    assert len(debug.build_id) == 40
    assert isinstance(debug.frame_pointers, str)
    with_pointers = int(debug.frame_pointers.split()[0])
    assert with_pointers >= 2
    offset = function_offset(program, "one")
    assert offset is not None
    assert b"\x55" in program.read_bytes()[offset : offset + 5]
    assert function_offset(program, "two") is None
    bare = elf_facts(compiled("-O2", "-fomit-frame-pointer", "-s", "-Wl,--build-id=none"))
    assert bare.debug_information == "no"
    assert "no debug information" in bare.optimisation.reason  # type: ignore[union-attr]
    assert "no names" in bare.frame_pointers.reason  # type: ignore[union-attr]
    assert "linker" in bare.build_id.reason  # type: ignore[union-attr]
    plain = elf_facts(source)
    assert "ELF" in plain.build_id.reason  # type: ignore[union-attr]
    program.write_bytes(program.read_bytes()[:100])
    assert "damaged" in elf_facts(program).build_id.reason  # type: ignore[union-attr]


def test_an_own_witness_on_a_plain_folder(tmp_path: Path) -> None:
    from reactivate.errors import ComponentNotEnabledError

    answers = OwnWitness(write="a", content="x\n", read="a", expect="x")
    assert answers(tmp_path) == "a read 'x'"
    assert list(tmp_path.iterdir()) == [], "nothing stays"
    with pytest.raises(ComponentNotEnabledError) as caught:
        OwnWitness(write="a", content="x", read="a", expect="y")(tmp_path)
    assert caught.value.why == "expected 'y'; came: 'x'"
    with pytest.raises(ComponentNotEnabledError, match="does not answer"):
        OwnWitness(write="", content="", read="nothing", expect="y")(tmp_path)
