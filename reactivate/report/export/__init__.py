"""Exports: the ledger for other programs, as streams of text. See docs/exports.md."""
