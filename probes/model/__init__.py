"""A small real filesystem whose components can be on or off: the embedded target.

Run it with `python -m model MOUNTPOINT --library FILE`; see docs/model.md.
"""
