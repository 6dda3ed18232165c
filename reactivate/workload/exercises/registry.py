"""All exercises by name."""

from __future__ import annotations

from reactivate.workload.exercises.contract import Exercise
from reactivate.workload.exercises.general import GENERAL
from reactivate.workload.exercises.vectors_and_search import VECTORS_AND_SEARCH

EXERCISES: dict[str, Exercise] = {
    exercise.name: exercise for exercise in (*GENERAL, *VECTORS_AND_SEARCH)
}
"""What a scenario can name."""
