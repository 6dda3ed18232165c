"""Which profile a build command names, and what a cargo manifest says of it. Nothing is run.

Cargo's compiler leaves no optimisation level in the debug information, so the manifest is asked:
https://doc.rust-lang.org/cargo/reference/profiles.html.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path

from reactivate.evidence import NotMeasured
from reactivate.target.elf_facts import Fact

_NAMED = re.compile(r"-DCMAKE_BUILD_TYPE=(\w+)|--buildtype=(\w+)")
_KEYS = ("opt-level", "debug", "lto", "codegen-units", "panic", "strip")
_BUILT_IN: Mapping[str, Mapping[str, object]] = {
    "dev": {"opt-level": 0, "debug": True, "lto": False, "codegen-units": 256, "panic": "unwind"},
    "release": {
        "opt-level": 3, "debug": False, "lto": False, "codegen-units": 16, "panic": "unwind",
    },
}  # fmt: skip


def build_profile(command: Sequence[str]) -> Fact:
    """The profile by its name; for cargo with what it sets: "profiling: opt-level 1, debug true".

    Args:
        command: the build command as it was run.
    """
    if command and Path(command[0]).name == "cargo":
        return _cargo(command)
    named = _NAMED.search(" ".join(command))
    if named is None:
        return NotMeasured(reason="the build command names none")
    return named[1] or named[2]


def _cargo(command: Sequence[str]) -> str:
    name = _option(command, "--profile") or ("release" if "--release" in command else "dev")
    manifest = _option(command, "--manifest-path")
    try:
        data = tomllib.loads(Path(manifest).read_text(encoding="utf-8")) if manifest else {}
    except (OSError, ValueError):
        return f"{name}: its manifest cannot be read"
    profiles = data.get("profile", {})
    settings: dict[str, object] = {}
    wanted, seen = name, set[str]()
    while wanted and wanted not in seen:
        seen.add(wanted)
        own = profiles.get(wanted, {}) if isinstance(profiles, dict) else {}
        own = own if isinstance(own, dict) else {}
        settings = {**_BUILT_IN.get(wanted, {}), **own, **settings}
        wanted = str(own.get("inherits", ""))
    told = [f"{key} {_text(settings[key])}" for key in _KEYS if key in settings]
    return f"{name}: {', '.join(told)}" if manifest and told else name


def _option(command: Sequence[str], name: str) -> str:
    for before, after in zip(command, [*command[1:], ""], strict=True):
        if before == name:
            return after
        if before.startswith(f"{name}="):
            return before.partition("=")[2]
    return ""


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
