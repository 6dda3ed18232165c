"""Names as they stand in the source: C++ and Rust (legacy and v0), by binutils' c++filt."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterable

_TOOL = "c++filt"
_DEADLINE_SECONDS = 60.0
_MANGLED = ("_Z", "__Z", "_R")
_RUST_HASH = re.compile(r"17h[0-9a-f]{16}E(?=$|\.)")
_RUST_CRATE = re.compile(r"(?<=C)s[0-9a-zA-Z]*_")


def demangle(names: Iterable[str]) -> tuple[dict[str, str], str]:
    """Demangle those names that are mangled.

    Returns:
        mangled → readable, only of those that could be read; and why that is not possible here,
        "" if it is (or if nothing was mangled).
    """
    mangled = sorted({name for name in names if name.startswith(_MANGLED)})
    if not mangled:
        return {}, ""
    tool = shutil.which(_TOOL)
    if tool is None:
        return {}, f"names are shown mangled: {_TOOL} is missing (Debian package binutils)"
    try:
        done = subprocess.run(
            [tool, "--no-verbose"],  # without the hashes of Rust
            input="\n".join(mangled) + "\n",
            capture_output=True,
            text=True,
            encoding="utf-8",
            errors="backslashreplace",
            timeout=_DEADLINE_SECONDS,
            start_new_session=True,
            check=True,
        )
    except (subprocess.SubprocessError, OSError) as error:
        return {}, f"names are shown mangled: {_TOOL} failed ({type(error).__name__})"
    readable = done.stdout.split("\n")[:-1]
    if len(readable) != len(mangled):
        return {}, f"names are shown mangled: {_TOOL} answered with another number of lines"
    return dict(zip(mangled, readable, strict=True)), ""


def build_independent(name: str) -> str:
    """A mangled Rust name without the hashes that differ from build to build; others as is."""
    if name.startswith("_R"):
        return _RUST_CRATE.sub("", name)
    return _RUST_HASH.sub("E", name) if name.startswith("_ZN") else name
