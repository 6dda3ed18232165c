"""The criterion language: its grammar, its types, and its canonical spelling.

    criterion  = sum comparator sum
    comparator = "<=" | "<" | ">=" | ">" | "=="
    sum        = product { ("+" | "-") product }
    product    = factor { ("*" | "/") factor }
    factor     = number [ unit ] | number "%" [ "of" factor ] | "baseline" | "previous"
               | metric [ "(" operation { "," operation } ")" ] | "(" sum ")"

Nothing is evaluated here, and nothing is ever evaluated as Python. The types are those of
`reactivate.evidence.Dimension`, the plain number and the percentage. The rules that go beyond
them exist so that the gate never has to guess which value was meant:

- the left side names at least one metric, and that is what is observed;
- a metric with a value for each operation stands on the left, once;
- `baseline` and `previous` stand on the right, and the left is then one metric alone.

A percentage that is compared with a ratio is a number: `stack.attributed >= 99%` becomes
`Number(value=0.99, dimension=RATIO)`. Everywhere else it is relative.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fractions import Fraction

from reactivate.checklist.faults import did_you_mean, nearest
from reactivate.checklist.kinds import Kind, Typed, combine, compare
from reactivate.checklist.lexer import CannotReadError, Problem, Token, TokenKind, tokens
from reactivate.checklist.model import (
    Comparator,
    Comparison,
    Expression,
    MetricName,
    Number,
    Operator,
    Percent,
    PercentOf,
    ReferenceValue,
)
from reactivate.checklist.spelling import render
from reactivate.errors import ChecklistError
from reactivate.evidence import Check, Role
from reactivate.metrics import METRICS
from reactivate.units import UNITS, find_unit, nearest_unit

__all__ = ["CriterionError", "examine", "parse_criterion", "render"]

MAX_NESTING = 20
"""Parentheses and `of` within each other; bounds the depth of the parser's own stack."""

MAX_NUMBER = 10**18
"""An exbibyte or thirty years: what is larger is a slip of the keyboard."""

MAX_PERCENT_DIGITS = 12
"""Digits of a percentage that survive the way to a float and back."""

REFERENCES = {"baseline": Role.BASELINE, "previous": Role.PREVIOUS}

_Rule = Callable[[], Typed]


class CriterionError(ChecklistError):
    """A criterion that cannot be read, with all that is wrong in it.

    Attributes:
        problems: each with its place in the criterion.
    """

    def __init__(self, source: str, problems: tuple[Problem, ...]) -> None:
        super().__init__(
            f"`{source}` is not a criterion",
            why="\n".join(
                f"column {p.start + 1}: {p.message}"
                + (f" ({p.suggestion})" if p.suggestion else "")
                for p in problems
            ),
            hint="see `reactivate checklist metrics`",
        )
        self.problems = problems


def parse_criterion(
    source: str, *, check: Check | None = None, forbidden: Mapping[Role, str] | None = None
) -> Comparison:
    """Read one criterion.

    Args:
        source: the text between the backticks.
        check: the gate it stands in; None accepts the metrics of all gates.
        forbidden: references that mean nothing where it stands, each with the reason.

    Raises:
        CriterionError: with everything that is wrong in it.
    """
    comparison, problems = examine(source, check=check, forbidden=forbidden)
    if comparison is None:
        raise CriterionError(source, problems)
    return comparison


def examine(
    source: str, *, check: Check | None = None, forbidden: Mapping[Role, str] | None = None
) -> tuple[Comparison | None, tuple[Problem, ...]]:
    """As `parse_criterion`, but gives the problems back: None if and only if there are some."""
    try:
        parser = _Parser(tokens(source), check, forbidden or {})
        comparison = parser.criterion()
    except CannotReadError as stop:
        return None, (stop.problem,)
    if parser.problems:
        return None, tuple(sorted(parser.problems, key=lambda problem: problem.start))
    return comparison, ()


class _Parser:
    """Recursive descent; errors of spelling stop it, errors of meaning are collected."""

    def __init__(
        self, found: tuple[Token, ...], check: Check | None, forbidden: Mapping[Role, str]
    ) -> None:
        self._tokens = found
        self._at = 0
        self._check = check
        self._forbidden = forbidden
        self._left: Typed | None = None
        self._nesting = 0
        self.problems: list[Problem] = []

    # Moving along

    def _peek(self) -> Token:
        return self._tokens[self._at]

    def _take(self) -> Token:
        token = self._peek()
        if token.kind is not TokenKind.END:
            self._at += 1
        return token

    def _is(self, *texts: str) -> bool:
        return self._peek().kind is not TokenKind.END and self._peek().text in texts

    def _stop(self, token: Token, message: str, suggestion: str = "") -> CannotReadError:
        return CannotReadError(
            Problem(start=token.start, end=token.end, message=message, suggestion=suggestion)
        )

    def _expect(self, text: str, wanted: str) -> Token:
        if not self._is(text):
            raise self._stop(self._peek(), f"expected {wanted}, found {self._peek().shown}")
        return self._take()

    def _deeper(self, token: Token) -> None:
        self._nesting += 1
        if self._nesting > MAX_NESTING:
            raise self._stop(token, f"nested deeper than {MAX_NESTING} levels")

    # The grammar

    def criterion(self) -> Comparison:
        left = self._sum()
        if self._peek().kind is not TokenKind.COMPARATOR:
            raise self._stop(
                self._peek(),
                f"expected a comparison, found {self._peek().shown}",
                "one of `<=` `<` `>=` `>` `==`" if self._peek().kind is TokenKind.END else "",
            )
        operator = self._take()
        self._left = left
        right = self._sum()
        if self._peek().kind is TokenKind.COMPARATOR:
            raise self._stop(
                self._peek(),
                "a criterion compares once",
                "write a second item for the second comparison",
            )
        if self._peek().kind is not TokenKind.END:
            raise self._stop(self._peek(), f"expected the end, found {self._peek().shown}")
        comparison, problems = compare(left, Comparator(operator.text), right)
        self.problems += problems
        return comparison

    def _sum(self) -> Typed:
        return self._chain(self._product, "+", "-")

    def _product(self) -> Typed:
        return self._chain(self._factor, "*", "/")

    def _chain(self, operand: _Rule, *operators: str) -> Typed:
        left = operand()
        while self._is(*operators):
            operator = Operator(self._take().text)
            left, problems = combine(left, operator, operand())
            self.problems += problems
        return left

    def _factor(self) -> Typed:
        token = self._take()
        if token.kind is TokenKind.NUMBER:
            return self._number(token)
        if token.kind is TokenKind.NAME:
            return self._name(token)
        if token.text == "(":
            self._deeper(token)
            inner = self._sum()
            close = self._expect(")", f"`)` for the `(` in column {token.start + 1}")
            self._nesting -= 1
            return inner.within(token.start, close.end)
        if token.text == "-" and token.kind is TokenKind.SYMBOL:
            raise self._stop(token, "there are no negative numbers; nothing measured is negative")
        raise self._stop(token, f"expected a metric or a number, found {token.shown}")

    def _number(self, token: Token) -> Typed:
        value = Fraction(token.text)
        if self._is("%"):
            return self._percent(token, value)
        kind, end = Kind.PLAIN, token.end
        if self._peek().kind is TokenKind.NAME and self._peek().text not in {*REFERENCES, "of"}:
            name = self._take()
            end = name.end
            unit = find_unit(name.text)
            if unit is None:
                return self._unknown_unit(token, name)
            value, kind = value * unit.factor, Kind(unit.dimension.value)
        if value > MAX_NUMBER:
            raise self._stop(token, f"`{token.text}` is larger than anything that can be measured")
        number = Number(value=_float_or_int(value), dimension=kind.dimension)
        return Typed(expression=number, kind=kind, start=token.start, end=end)

    def _unknown_unit(self, number: Token, name: Token) -> Typed:
        if "." in name.text or name.text in METRICS:
            raise self._stop(name, f"expected an operator between {number.shown} and {name.shown}")
        near = nearest_unit(name.text) or nearest(name.text, UNITS)
        self.problems.append(
            Problem(
                start=name.start,
                end=name.end,
                message=f"unknown unit `{name.text}`",
                suggestion=f"did you mean `{near}`?" if near else f"known: {' '.join(UNITS)} %",
            )
        )
        return Typed.unknown(number.start, name.end)

    def _percent(self, token: Token, value: Fraction) -> Typed:
        sign = self._take()
        if len(token.text.replace(".", "").strip("0")) > MAX_PERCENT_DIGITS or value > MAX_NUMBER:
            raise self._stop(token, f"a percentage has at most {MAX_PERCENT_DIGITS} digits")
        percent = _float_or_int(value)
        if not self._is("of"):
            expression: Expression = Percent(value=percent)
            return Typed(expression=expression, kind=Kind.PERCENT, start=token.start, end=sign.end)
        self._deeper(self._take())
        whole = self._factor()
        self._nesting -= 1
        if whole.kind in {Kind.PERCENT, Kind.PLAIN}:
            self.problems.append(
                Problem(
                    start=whole.start,
                    end=whole.end,
                    message="expected what the percentage is of: a metric, `baseline`, "
                    "`previous` or a number with a unit",
                )
            )
            return Typed.unknown(token.start, whole.end)
        part = PercentOf(percent=percent, whole=whole.expression)
        return Typed(expression=part, kind=whole.kind, start=token.start, end=whole.end)

    def _name(self, token: Token) -> Typed:
        if token.text in REFERENCES:
            return self._reference(token)
        if token.text == "of":
            raise self._stop(token, "`of` follows a percentage", "e.g. `25% of stack.limit`")
        metric = METRICS.get(token.text)
        listed = self._operations() if self._is("(") else ()
        operations = tuple(operation.text for operation in listed)
        end = self._tokens[self._at - 1].end
        if metric is None:
            self._complain(
                token,
                f"unknown metric `{token.text}` in a criterion",
                did_you_mean(token.text, [*METRICS, *REFERENCES]),
            )
            return Typed.unknown(token.start, end)
        if self._check is not None and self._check not in metric.checks:
            where = " and ".join(sorted(check.value for check in metric.checks))
            self._complain(
                token,
                f"`{metric.name}` is not measured in the {self._check.value} gate",
                f"it is measured in the {where} gate",
            )
        if listed and not metric.per_operation:
            self._complain(
                listed[0],
                f"`{metric.name}` has no value for each operation",
                f"write `{metric.name}` alone",
            )
        if self._left is not None and metric.per_operation:
            self._complain(
                token,
                f"`{metric.name}` has a value for each operation, so it must stand on the left",
                "turn the comparison round",
            )
        return Typed(
            expression=MetricName(name=metric.name, operations=operations),
            kind=Kind(metric.dimension.value),
            start=token.start,
            end=end,
        )

    def _operations(self) -> tuple[Token, ...]:
        self._take()
        named: list[Token] = []
        while True:
            token = self._take()
            if token.kind is not TokenKind.NAME or "." in token.text:
                raise self._stop(
                    token, f"expected the name of an operation, found {token.shown}", "e.g. `read`"
                )
            if token.text in {other.text for other in named}:
                self._complain(token, f"operation `{token.text}` is named twice")
            named.append(token)
            if not self._is(","):
                break
            self._take()
        self._expect(")", "`,` or `)` after the operation")
        return tuple(named)

    def _reference(self, token: Token) -> Typed:
        role = REFERENCES[token.text]
        if self._left is None:
            self._complain(
                token,
                f"`{token.text}` stands on the right: it is what the left side is held against",
                f"e.g. `rss.peak <= {token.text} + 50%`",
            )
            return Typed.unknown(token.start, token.end)
        if role in self._forbidden:
            self._complain(token, f"`{token.text}` means nothing here", self._forbidden[role])
        if self._left.kind is not Kind.UNKNOWN and not isinstance(
            self._left.expression, MetricName
        ):
            self._complain(
                token,
                f"`{token.text}` needs one metric alone on the left: it is that metric's value",
            )
        return Typed(
            expression=ReferenceValue(role=role),
            kind=self._left.kind,
            start=token.start,
            end=token.end,
        )

    def _complain(self, token: Token, message: str, suggestion: str = "") -> None:
        self.problems.append(
            Problem(start=token.start, end=token.end, message=message, suggestion=suggestion)
        )


def _float_or_int(value: Fraction) -> float:
    return value.numerator if value.denominator == 1 else float(value)
