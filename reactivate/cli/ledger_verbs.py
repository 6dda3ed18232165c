"""`reactivate ledger`: whether the record can be believed."""

from __future__ import annotations

import typer

from reactivate.cli import ledger_verify
from reactivate.cli.light import add_group


def register(app: typer.Typer) -> None:
    """Add the verbs."""
    group = add_group(app, "ledger", "Verify the ledger, and anchor its head elsewhere.")
    for module in (ledger_verify,):
        module.register(group)
