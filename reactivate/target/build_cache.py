"""Whether a build would give again what is there: a digest of all that goes into it."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from reactivate.documents import parse_json
from reactivate.files import open_plain, read_plain, replace_file
from reactivate.target.source import Source

_TOOLS = ("cc", "c++", "gcc", "g++", "clang", "ld", "make", "cargo", "rustc", "cmake", "pkg-config")
_FORMAT = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What is run on what.

    Attributes:
        commands: with their fields filled in.
        variables: the whole environment.
        source: what is built; None if the target does not say, and then nothing is known.
    """

    commands: tuple[tuple[str, ...], ...]
    variables: Mapping[str, str]
    source: Source | None

    def sha256(self) -> str:
        """Digest of commands, environment, source with its patches, and the tools' files."""
        path = self.variables.get("PATH")
        programs = sorted({command[0] for command in self.commands} | set(_TOOLS))
        return hashlib.sha256(
            json.dumps(
                [
                    _FORMAT,
                    self.commands,
                    dict(self.variables),
                    "" if self.source is None else self.source.fingerprint,
                    [_file(shutil.which(program, path=path)) for program in programs],
                ],
                sort_keys=True,
            ).encode(errors="surrogateescape")
        ).hexdigest()


def still_valid(stamp: Path, recipe: Recipe, artifact: Path) -> bool:
    """Whether the artifact is what this recipe gave when it was last run to its end."""
    if recipe.source is None or not recipe.commands:
        return False
    try:
        then = parse_json(read_plain(stamp))
        with open_plain(artifact) as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except (OSError, ValueError):
        return False
    return bool(then == {"inputs_sha256": recipe.sha256(), "artifact_sha256": digest})


def remember(stamp: Path, recipe: Recipe, artifact_sha256: str) -> None:
    """Note a build that ran to its end; a kill meanwhile leaves none."""
    noted = {"inputs_sha256": recipe.sha256(), "artifact_sha256": artifact_sha256}
    replace_file(stamp, json.dumps(noted).encode())


def _file(path: str | None) -> list[object]:
    if path is None:
        return []
    stat = Path(path).stat()
    return [os.path.realpath(path), stat.st_size, stat.st_mtime_ns]
