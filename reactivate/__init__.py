"""Guided, gated reactivation of filesystem components under measured stack budgets."""

__version__ = "0.1.0"
