"""Where the scripts for bpftrace lie: they are files, in the checkout and in the wheel."""

from __future__ import annotations

from pathlib import Path

from reactivate.errors import MissingToolError

_PACKAGE = Path(__file__).resolve().parent.parent
_PLACES = (_PACKAGE / "_template" / "probes" / "trace", _PACKAGE.parent / "probes" / "trace")


def trace_probe(name: str) -> Path:
    """Path of a script in probes/trace.

    Raises:
        MissingToolError: the installation is incomplete.
    """
    for folder in _PLACES:
        if (folder / name).is_file():
            return folder / name
    raise MissingToolError(
        f"the probe {name} is not installed",
        why=f"it is neither in {_PLACES[0]} nor in {_PLACES[1]}",
        hint="pip install --force-reinstall .   in a checkout of reactivate",
    )
