"""`reactivate ledger`: the record itself: taken over, handed on, replayed."""

from __future__ import annotations

import typer

from reactivate.cli import ledger_merge, ledger_pack, ledger_replay
from reactivate.cli.light import add_group


def register(app: typer.Typer) -> None:
    """Add the verbs."""
    group = add_group(app, "ledger", "The record of a campaign.")
    for module in (ledger_merge, ledger_pack, ledger_replay):
        module.register(group)
