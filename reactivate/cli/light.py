"""Parameters without pydantic: the library reads every option through it, flags excepted.

Its import takes longer than all that `status` does. Text and paths need no validation beyond
being text, so their options are read here; whatever else there is goes the library's way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

_DONE = "reads_by_itself"
_READ: dict[Any, Callable[[str], object]] = {str: str, Path: Path}


def lighten(parameters: Iterable[Any]) -> list[Any]:
    """Let each of these parameters read None, text and paths by itself; returns them."""
    listed = list(parameters)
    for parameter in listed:
        if not hasattr(parameter, _DONE):
            # Of one object, not of its class: the library makes its options itself.
            parameter.process_value = _reader(parameter, parameter.process_value)
            setattr(parameter, _DONE, True)
    return listed


def _reader(parameter: Any, otherwise: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    read = _READ.get(parameter.type_descriptor.annotation)

    def process(ctx: Any, value: Any) -> Any:
        if value is None and not parameter.required and parameter.nargs == 1:
            found: object = None
        elif isinstance(value, str) and read is not None:
            found = read(value)
        else:
            return otherwise(ctx, value)
        return found if parameter.callback is None else parameter.callback(ctx, parameter, found)

    return process


class LightCommand(TyperCommand):
    """A verb whose parameters are read quickly, and of which none is dropped in silence."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Refuse a value that a later one of the same option would take the place of."""
        if not ctx.resilient_parsing:
            _, _, given = self.make_parser(ctx).parse_args(args=list(args))
            for option in given:
                if option.nargs == 1 and given.count(option) > 1 and _holds_one(option):
                    ctx.fail(f"{option.opts[0]} was given {given.count(option)} times; it is one")
        return list(super().parse_args(ctx, args))

    def get_params(self, ctx: Any) -> list[Any]:
        """All parameters, those that the library adds by itself included."""
        return lighten(super().get_params(ctx))


def _holds_one(option: Any) -> bool:
    return not (option.multiple or getattr(option, "is_flag", False))


class LightGroup(TyperGroup):
    """A group of verbs whose own parameters are read quickly; without a verb it shows its help."""

    def get_params(self, ctx: Any) -> list[Any]:
        """All parameters, those that the library adds by itself included."""
        return lighten(super().get_params(ctx))

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Whoever types only the name asks what there is: that is no error."""
        if not args and not ctx.resilient_parsing:
            typer.echo(ctx.get_help())
            raise typer.Exit
        return list(super().parse_args(ctx, args))


def add_verb(
    app: typer.Typer, function: Callable[..., None], *, example: str, name: str | None = None
) -> None:
    """Add a verb to a group.

    Args:
        function: its parameters are the verb's, the first line of its docstring its help.
        example: a command line that makes sense, for the end of the help.
        name: if it is not the function's.
    """
    app.command(name, cls=LightCommand, epilog=f"Example: {example}")(function)


def add_group(app: typer.Typer, name: str, summary: str) -> typer.Typer:
    """Add a group of verbs, and return it to be filled."""
    group = typer.Typer(cls=LightGroup, help=summary)
    app.add_typer(group, name=name)
    return group
