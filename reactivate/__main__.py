"""`python -m reactivate`."""

from reactivate.cli.main import run

run()
