"""What a target's configuration says to the enabled components, as a digest."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from reactivate.tomlfile import TomlFile


def configuration_sha256(path: Path | None, components: Sequence[str]) -> str:
    """Digest of what a configuration says to the enabled components; "" without a file.

    Counts the sections named like an enabled component and all top-level values. Comments and
    layout do not count: a digest changes when, and only when, the daemon would read another value.

    Raises:
        ConfigurationError: it is not TOML.
        WorkspaceError: it cannot be read.
    """
    if path is None:
        return ""
    data = TomlFile(path).data
    relevant = {
        name: value
        for name, value in data.items()
        if name in components or not isinstance(value, dict)
    }
    text = json.dumps(relevant, sort_keys=True, default=str, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()
