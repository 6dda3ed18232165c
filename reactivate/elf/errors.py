"""The one error of this folder."""

from __future__ import annotations

from reactivate.errors import UsageError


class BinaryError(UsageError):
    """The file is not an ELF x86-64 binary, or it is damaged; nothing of it is shown."""
