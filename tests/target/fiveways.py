"""Target files for the five-way daemon, one for each way of switching."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from reactivate.target.config import load_target
from reactivate.target.model import TargetSpec
from reactivate.workspace import Workspace

ROOT = Path(__file__).resolve().parent.parent.parent
FIVEWAYS = ROOT / "probes" / "groundtruth" / "fiveways"

WITNESSES = {
    "vector_storage": ("sum", "1,2,3", "6"),
    "search_engine": ("max", "1,5,3", "5"),
    "metadata_manager": ("count", "abcd", "4"),
    "cache_manager": ("twice", "ab", "abab"),
    "transaction_manager": ("seal", "a", "e40c292c"),
}
"""Suffix, what is written, what a component makes of it."""

WAYS = ("arguments", "environment", "build", "configuration", "patch")

CONFIGURATION = "# Kept.\n" + "".join(
    f"\n[{name}]\nenabled = false  # {name} is off\n" for name in WITNESSES
)


def needs_libfuse() -> None:
    """Skip without what the daemon is built with."""
    for program in ("make", "cc", "pkg-config", "git"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")
    if subprocess.run(["pkg-config", "--exists", "fuse3"], check=False).returncode:
        pytest.skip("libfuse3-dev is not installed")


def git(folder: Path, *arguments: str) -> str:
    """Run git as a person with a name."""
    who = ("-c", "user.name=Tester", "-c", "user.email=tester@example.org")
    done = subprocess.run(
        ["git", *who, "-C", str(folder), *arguments],
        capture_output=True, text=True, check=True,
        env={**os.environ, "GIT_CONFIG_GLOBAL": "/dev/null"},
    )  # fmt: skip
    return done.stdout


def checkout(folder: Path) -> Path:
    """The daemon's source as a user's git checkout."""
    shutil.copytree(FIVEWAYS, folder, ignore=shutil.ignore_patterns("patches"))
    git(folder, "init", "--quiet")
    git(folder, "add", "-A")
    git(folder, "commit", "--quiet", "-m", "all")
    return folder


def switch(way: str, name: str) -> str:
    """The line that switches a component."""
    return {
        "arguments": f'arguments = ["--{name}"]',
        "environment": f'environment = {{ FIVEWAYS_{name.upper()} = "1" }}',
        "build": f'feature = "{name}"',
        "configuration": f'setting = {{ key = "{name}.enabled", on = true, off = false }}',
        "patch": f'patch = "configs/patches/{name}.patch"',
    }[way]


def text(way: str, source: Path, names: tuple[str, ...] = tuple(WITNESSES)) -> str:
    """A target file."""
    features = "{features}" if way == "build" else ""
    config = ', "--config", "{configuration}"' if way == "configuration" else ""
    lines = [
        f'title = "five ways: {way}"',
        f'source = "{source}"',
        'artifact = "{build}/fiveways"',
        'threads = "main"',
        'configuration = "configs/fiveways.toml"' * (way == "configuration"),
        "[build]",
        'commands = [["sh", "-c", '
        f'\'make -C "$1" OUT="$2" COMPONENTS="$(echo {features} | tr , " ")"\','
        ' "sh", "{source}", "{build}"]]',
        "[run]",
        f'command = ["{{build}}/fiveways", "-f", "-s", "{{mountpoint}}"{config}]',
    ]
    for name in names:
        suffix, content, expect = WITNESSES[name]
        lines += [
            "[[component]]",
            f'id = "{name}"',
            'needs = ["vector_storage"]' * (name == "search_engine"),
            switch(way, name),
            f'witness_operation = {{ write = "w.{suffix}", content = "{content}", '
            f'expect = "{expect}" }}',
        ]
    return "\n".join(lines) + "\n"


def target(root: Path, way: str, source: Path, **options: tuple[str, ...]) -> TargetSpec:
    """The five-way daemon as a target of a workspace."""
    return written(root, text(way, source, **options))


def written(root: Path, content: str) -> TargetSpec:
    """A target file, with the patches and the configuration that it may name."""
    targets = root / "configs" / "targets"
    targets.mkdir(parents=True, exist_ok=True)
    if not (root / "configs" / "patches").exists():
        shutil.copytree(FIVEWAYS / "patches", root / "configs" / "patches")
    (root / "configs" / "fiveways.toml").write_text(CONFIGURATION)
    path = targets / "own.toml"
    path.write_text(content)
    return load_target(path)


def workspace(root: Path) -> Workspace:
    """A workspace that holds no more than targets."""
    return Workspace(root)
