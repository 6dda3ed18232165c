"""`reactivate ledger`: the record itself: verified, taken over, handed on, replayed."""

from __future__ import annotations

import typer

from reactivate.cli import ledger_merge, ledger_pack, ledger_replay, ledger_verify
from reactivate.cli.light import add_group


def register(app: typer.Typer) -> None:
    """Add the verbs."""
    group = add_group(app, "ledger", "Verify, merge, hand on or replay the record.")
    for module in (ledger_verify, ledger_merge, ledger_pack, ledger_replay):
        module.register(group)
