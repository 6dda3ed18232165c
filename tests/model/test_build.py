"""The library is what COMPONENTS says: other components other bytes, same components same bytes."""

from __future__ import annotations

import hashlib
import itertools
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from model.library import COMPONENTS, ConfigurationFault, Library
from mounting import CONFIG, MODEL, PROBES, built, make

OWN = ("metadata_manager", "cache_manager", "transaction_manager")


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def exported(path: Path) -> set[str]:
    command = ["nm", "-D", "--defined-only", "--format=just-symbols", str(path)]
    return set(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())


def test_each_component_changes_the_bytes() -> None:
    sets = [(), *itertools.combinations(OWN, 1), *itertools.combinations(OWN, 2), OWN]
    hashes = {sha256(built(*components)) for components in sets}
    assert len(hashes) == len(sets) == 8


def test_only_enabled_components_are_in_it() -> None:
    for name in OWN:
        symbols = exported(built(name))
        assert f"{name}_create" in symbols
        others = [other for other in COMPONENTS if other != name]
        assert not any(symbol.startswith(other) for symbol in symbols for other in others)
    assert exported(built()) == {"vexmodel_abi", "vexmodel_components"}


def test_same_inputs_same_bytes_wherever_they_lie(tmp_path: Path) -> None:
    elsewhere = tmp_path / "deeper" / "copy"
    shutil.copytree(MODEL, elsewhere)
    command = ["make", "-C", str(elsewhere), f"OUT={tmp_path / 'out'}"]
    command.append(f"COMPONENTS={' '.join(reversed(OWN))}")
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    library = tmp_path / "out" / "libvexmodel.so"
    assert sha256(library) == sha256(built(*OWN))
    assert str(tmp_path).encode() not in library.read_bytes()


def test_it_has_debug_information_and_a_build_id() -> None:
    command = ["readelf", "--sections", "--wide", str(built("cache_manager"))]
    sections = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert ".debug_info" in sections
    assert ".note.gnu.build-id" in sections


def test_other_components_in_the_same_folder_build_anew(tmp_path: Path) -> None:
    library = tmp_path / "libvexmodel.so"
    assert make(tmp_path, ["cache_manager"]).returncode == 0
    first = library.stat().st_mtime_ns
    assert make(tmp_path, ["cache_manager"]).returncode == 0
    assert library.stat().st_mtime_ns == first
    assert make(tmp_path, []).returncode == 0
    assert sha256(library) == sha256(built())
    assert make(tmp_path, [], CFLAGS="-g -O2 -fPIC").returncode == 0
    assert sha256(library) != sha256(built())


@pytest.mark.parametrize(
    ("components", "variables", "message"),
    [
        (["cache"], {}, "unknown component `cache`"),
        (["search_engine"], {}, "`vector_storage` is needed"),
        ([], {"CC": "no-such-compiler"}, "`no-such-compiler` not found"),
    ],
)
def test_refusals(
    tmp_path: Path, components: list[str], variables: dict[str, str], message: str
) -> None:
    result = make(tmp_path, components, **variables)
    assert result.returncode != 0
    assert message in result.stderr


def test_library_is_held_to_what_was_asked(tmp_path: Path) -> None:
    library = Library(built("cache_manager"))
    assert library.components == ("cache_manager",)
    library.require(["cache_manager"])
    with pytest.raises(ConfigurationFault, match="not asked for with --component: cache_manager"):
        library.require([])
    with pytest.raises(ConfigurationFault, match=r"not compiled into .*: metadata_manager"):
        library.require(["cache_manager", "metadata_manager"])
    with pytest.raises(ConfigurationFault, match="unknown component 'cache'"):
        library.require(["cache"])
    wrong = tmp_path / "wrong.so"
    wrong.write_bytes(b"no library")
    for path in (wrong, tmp_path / "absent.so"):
        with pytest.raises(ConfigurationFault, match="cannot load"):
            Library(path)


def run_model(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "model", *arguments],
        env={**os.environ, "PYTHONPATH": str(PROBES), **environment},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_help_needs_no_pyfuse3(tmp_path: Path) -> None:
    (tmp_path / "pyfuse3.py").write_text("raise ImportError('not here')\n")
    result = run_model("--help", PYTHONPATH=f"{tmp_path}:{PROBES}")
    assert result.returncode == 0
    assert "MOUNTPOINT" in result.stdout
    arguments = [str(tmp_path), "--library", str(built())]
    result = run_model(*arguments, PYTHONPATH=f"{tmp_path}:{PROBES}")
    assert result.returncode == 2
    assert "pyfuse3" in result.stderr


def test_command_line_refusals(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    bad = tmp_path / "bad.toml"
    bad.write_text("[cache_manager]\nsize = 1\n")
    unknown = tmp_path / "unknown.toml"
    unknown.write_text("[cash_manager]\n")
    library = ["--library", str(built())]
    cache = ["--library", str(built("cache_manager")), "--component", "cache_manager"]
    journal = ["--library", str(built("transaction_manager")), "--component", "transaction_manager"]
    cases = [
        ([], "required"),
        ([str(empty)], "--library"),
        ([str(tmp_path), *library], "is not empty"),
        ([str(tmp_path / "absent"), *library], "No such file"),
        ([str(empty), *library, "--component", "cash"], "unknown component 'cash'"),
        ([str(empty), *library, "--component", "cache_manager"], "not compiled into"),
        ([str(empty), *cache, "--config", str(bad)], "no setting 'size'"),
        ([str(empty), *cache, "--config", str(unknown)], "'cash_manager'"),
        ([str(empty), *cache, "--config", str(tmp_path / "absent")], "cannot read"),
        ([str(empty), *journal, "--config", str(CONFIG)], "needs --backing"),
        ([str(empty), *journal, "--backing", str(tmp_path / "absent")], "cannot use the journal"),
    ]
    for arguments, message in cases:
        result = run_model(*arguments)
        assert (result.returncode, message in result.stderr) == (2, True), result.stderr
        assert "Traceback" not in result.stderr
