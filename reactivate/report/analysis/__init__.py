"""Analyses: what the ledger and its evidence files say, as Markdown. See docs/analyses.md."""
