"""What this machine can measure, what is missing, and the command that mends it."""

from __future__ import annotations

import os
import platform
import shutil
import sqlite3
from dataclasses import dataclass
from enum import StrEnum
from importlib import metadata
from pathlib import Path

from reactivate.extensions import extensions
from reactivate.instrument.registry import INSTRUMENTS, ON_DEMAND, instrument, instrument_names
from reactivate.target.build import package_of
from reactivate.target.model import TargetSpec


class Condition(StrEnum):
    """How well a need is met."""

    READY = "ready"
    PARTLY = "partly"
    MISSING = "missing"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One line of `doctor`.

    Attributes:
        subject: instrument, program or device.
        detail: what was found, or the precise reason why not.
        needs: what it needs, in words.
        hint: the command that mends it, "" if none is needed or none does.
    """

    group: str
    subject: str
    condition: Condition
    detail: str
    needs: str = ""
    hint: str = ""


def examine(spec: TargetSpec | None = None) -> tuple[Finding, ...]:
    """Look at this machine; changes nothing that stays.

    Args:
        spec: the target that is to be built and run here; the embedded filesystem without it.
    """
    target = _model() if spec is None or spec.name == "model" else _target(spec)
    return (*_machine(), *target, *_instruments())


def _machine() -> list[Finding]:
    arch = platform.machine()
    supported = arch == "x86_64" and platform.system() == "Linux"
    return [
        Finding(
            group="machine",
            subject="kernel",
            condition=Condition.READY if supported else Condition.MISSING,
            detail=f"{platform.system()} {platform.release()} {arch}",
            needs="Linux on x86-64",
        ),
        _fuse_device(),
        _program("machine", "fusermount3", "fuse3", "unmount"),
        _sqlite(),
    ]


def _fuse_device() -> Finding:
    device = Path("/dev/fuse")
    if not device.exists():
        detail, hint = "/dev/fuse does not exist", "sudo modprobe fuse"
    elif not os.access(device, os.R_OK | os.W_OK):
        detail, hint = "/dev/fuse may not be opened by this user", "sudo chmod 666 /dev/fuse"
    else:
        return Finding(
            group="machine",
            subject="/dev/fuse",
            condition=Condition.READY,
            detail="readable and writable",
            needs="mount",
        )
    return Finding(
        group="machine",
        subject="/dev/fuse",
        condition=Condition.MISSING,
        detail=detail,
        needs="mount",
        hint=hint,
    )


def _program(group: str, name: str, package: str, needs: str) -> Finding:
    path = shutil.which(name)
    return Finding(
        group=group,
        subject=name,
        condition=Condition.READY if path else Condition.MISSING,
        detail=path or "not found in PATH",
        needs=needs,
        hint="" if path or not package else f"sudo apt-get install {package}",
    )


def _sqlite() -> Finding:
    # https://sqlite.org/releaselog/3_51_3.html: a WAL-reset fault with several writers. The
    # ledger has one writer and no WAL, so an older library is safe; it is named all the same.
    version = sqlite3.sqlite_version
    return Finding(
        group="machine",
        subject="sqlite",
        condition=Condition.READY,
        detail=f"{version}, rollback journal, one writer",
        needs="ledger",
    )


def _model() -> list[Finding]:
    try:
        version = metadata.version("pyfuse3")
    except metadata.PackageNotFoundError:
        pyfuse = Finding(
            group="model",
            subject="pyfuse3",
            condition=Condition.MISSING,
            detail="not installed",
            needs="embedded filesystem",
            hint="sudo apt-get install libfuse3-dev pkg-config && pip install '.[model]'   "
            "in a checkout of reactivate",
        )
    else:
        pyfuse = Finding(
            group="model",
            subject="pyfuse3",
            condition=Condition.READY,
            detail=version,
            needs="embedded filesystem",
        )
    return [
        pyfuse,
        _program("model", "make", "make", "build of the embedded filesystem"),
        _program("model", "cc", "gcc", "build of the embedded filesystem"),
    ]


def _target(spec: TargetSpec) -> list[Finding]:
    """The programs that its build begins with, or the one that it is; and where its source is."""
    names = [command[0] for command in spec.build] or [spec.artifact]
    names += ["git"] * (spec.source is not None)
    found = [
        _program("target", name, package_of(name), f"build of {spec.name}" if spec.build else "")
        for name in dict.fromkeys(names)
        if "{" not in name and "/" not in name
    ]
    if spec.source is None:
        return found
    there = spec.source.is_dir()
    source = Finding(
        group="target",
        subject="source",
        condition=Condition.READY if there else Condition.MISSING,
        detail=str(spec.source) if there else f"there is no folder {spec.source}",
        needs=f"build of {spec.name}",
        hint="" if there else f"correct `source` in {spec.path}",
    )
    return [*found, source]


def _instruments() -> list[Finding]:
    findings = []
    for name in instrument_names():
        made = instrument(name)
        availability = made.availability()
        findings.append(
            Finding(
                group="instrument",
                subject=name,
                condition=Condition.READY if availability.ready else Condition.MISSING,
                detail=availability.detail,
                needs=", ".join(made.needs),
                hint=availability.hint,
            )
        )
    _, misfits = extensions()
    findings += [
        Finding(
            group="extension",
            subject=misfit.name,
            condition=Condition.MISSING,
            detail=f"of {misfit.distribution}: {misfit.reason}",
            needs="an instrument of another distribution",
        )
        for misfit in misfits
    ]
    return findings


def missing(findings: tuple[Finding, ...]) -> tuple[Finding, ...]:
    """The findings that keep a campaign from being completed.

    Instruments that run only when a checklist asks for their metrics are not among them.
    """
    needed = set(INSTRUMENTS) - set(ON_DEMAND)
    return tuple(
        f
        for f in findings
        if f.condition is Condition.MISSING
        and f.group != "extension"
        and (f.group != "instrument" or f.subject in needed)
    )
