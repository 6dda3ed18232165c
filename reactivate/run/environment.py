"""What a result depends on: kernel, processor, tools. Evidence is bound to it."""

from __future__ import annotations

import platform
import re
import shutil
import subprocess
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from reactivate import __version__

_TOOLS = {
    "bpftrace": ["bpftrace", "--version"],
    "addr2line": ["addr2line", "--version"],
    "perf": ["perf", "--version"],
    "valgrind": ["valgrind", "--version"],
    "cc": ["cc", "--version"],
}
_VERSION = re.compile(r"\d+(\.\d+)+")


@cache
def machine() -> dict[str, str]:
    """Kernel, architecture, processor and C library: what numbers are compared within."""
    return {
        "kernel": f"{platform.system()} {platform.release()}",
        "architecture": platform.machine(),
        "cpu": _processor(),
        "libc": " ".join(platform.libc_ver()),
    }


@cache
def tools() -> dict[str, str]:
    """Versions of the programs that measure, build or run the target; "missing" if absent."""
    found = {"reactivate": __version__, "python": platform.python_version()}
    for name, command in _TOOLS.items():
        found[name] = _version(command)
    return found


def tool_files() -> dict[str, str]:
    """Which file each of those programs is, by path, size and time: told without running any."""
    found = {"reactivate": __version__}
    for name, command in _TOOLS.items():
        path = shutil.which(command[0])
        if path is None:
            found[name] = "missing"
            continue
        file = Path(path).resolve()
        entry = file.stat()
        found[name] = f"{file} {entry.st_size} {entry.st_mtime_ns}"
    return found


def changed_tools(then: Mapping[str, object], files: Mapping[str, object]) -> list[str]:
    """Programs that are not as they were: by version, which is asked only where files differ.

    Args:
        then: `tools()` of an earlier time. A program that was missing then measured nothing.
        files: `tool_files()` of that time.
    """
    found = [
        name
        for name, version in (("reactivate", __version__), ("python", platform.python_version()))
        if then.get(name, version) != version
    ]
    now = tool_files()
    others = [name for name in _TOOLS if files.get(name) != now[name]]
    return found + [
        name for name in others if then.get(name, "missing") not in ("missing", tools()[name])
    ]


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return "unknown"


def _version(command: list[str]) -> str:
    if shutil.which(command[0]) is None:
        return "missing"
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return "does not answer"
    match = _VERSION.search(done.stdout + done.stderr)
    return match.group() if match else "unknown"
