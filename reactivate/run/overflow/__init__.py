"""Overflow scenarios on a real mount: steps in a box, deaths explained, sweeps fitted."""
