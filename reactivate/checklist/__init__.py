"""Markdown checklists: parsed into a `Checklist`, refused with every fault at once."""
