"""Calibration: every instrument against programs that are known to do what it should find."""
