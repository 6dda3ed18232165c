"""Criteria × measurements → verdicts. Pure: no process, no clock, no disk."""
