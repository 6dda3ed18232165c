"""Pictures: values in, SVG text out. Nothing here reads a file or a ledger. See docs/report.md."""
