"""What a switch does to the way a target is built and run. Data and one protocol."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Protocol

Setting = str | int | float | bool


class Way(StrEnum):
    """How a component is switched."""

    ARGUMENTS = "arguments"
    ENVIRONMENT = "environment"
    BUILD = "build"
    CONFIGURATION = "configuration"
    PATCH = "patch"


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """What switches add to a target's own description. Text may hold `{fields}`.

    Attributes:
        arguments: appended to the daemon's command line.
        environment: variables of the daemon; not of the build.
        features: what `{features}` stands for.
        settings: values of the configuration file, by `SECTION.KEY`.
        patches: files that are applied to the tool's own copy of the source, in this order.
    """

    arguments: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    features: tuple[str, ...] = ()
    settings: Mapping[str, Setting] = field(default_factory=dict)
    patches: tuple[Path, ...] = ()


class Switch(Protocol):
    """One way in which one component is switched."""

    @property
    def way(self) -> Way:
        """Which of the ways it is."""

    def effect(self, *, on: bool) -> Effect:
        """What it does when the component is on, and when it is off."""

    def shown(self) -> str:
        """What it does, in a few words for people."""


def combined(effects: Iterable[Effect]) -> Effect:
    """All effects together, one after the other; a later value goes before an earlier one."""
    arguments: list[str] = []
    environment: dict[str, str] = {}
    features: list[str] = []
    settings: dict[str, Setting] = {}
    patches: list[Path] = []
    for effect in effects:
        arguments += effect.arguments
        environment |= effect.environment
        features += effect.features
        settings |= effect.settings
        patches += effect.patches
    return Effect(
        arguments=tuple(arguments),
        environment=environment,
        features=tuple(features),
        settings=settings,
        patches=tuple(patches),
    )
