"""How `reactivate target check` and `target show` look, as text and as JSON."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Any

from reactivate.cli.console import Part, Styled, error_json, say, sentence
from reactivate.cli.table import print_table
from reactivate.errors import ReactivateError
from reactivate.run.target_check import ComponentCheck, TargetCheck, ways_of
from reactivate.target.build_profile import build_profile
from reactivate.target.elf_facts import document, told
from reactivate.target.model import ComponentSwitch, TargetSpec


def show_check(spec: TargetSpec, found: TargetCheck) -> None:
    """What was found out, what is wrong, and what to type."""
    say(f"{found.name} · {spec.title}", style="bold")
    rows: list[list[Part]] = []
    if found.build is not None:
        made = found.build
        took = "nothing to do" if not made.seconds else f"{made.seconds:.1f} s"
        commit = f" of commit {made.commit[:12]}{'+' * made.commit.endswith('+')}"
        rows.append(["build", f"artifact {made.artifact_sha256[:12]}{commit * bool(made.commit)}",
                     took])  # fmt: skip
    if found.life is not None:
        count = f"{found.life.threads} thread" + "s" * (found.life.threads != 1)
        rows.append(["mount", f"answers, {count}", f"{found.life.mount_seconds:.1f} s"])
        if found.life.problem is None:
            rows.append(["unmount", "ended by itself", f"{found.life.stop_seconds:.1f} s"])
    print_table(["", "", ""], rows, right=[2])
    if found.facts is not None and found.build is not None:
        facts = {"profile": told(build_profile(found.build.command)), **found.facts.told()}
        print_table(["", ""], [[name, Styled(fact, "dim")] for name, fact in facts.items()])
    if found.broken_word:
        say()
        say(f"{found.broken_word}.", style="red")
    if found.components:
        say()
        print_table(
            ["component", "switched by", "differs", "witness", ""],
            [_row(each) for each in found.components],
        )
    problems = _problems(found)
    for where, problem in problems:
        say()
        say(sentence(f"{where}{problem.what}"), style="red")
        for line in problem.why.splitlines():
            say(f"  {line}")
        if problem.hint:
            say(f"  {problem.hint}", style="dim")
    for each in found.components:
        if each.same_as:
            say()
            say(f"{each.id} and {each.same_as} are the same thing tested twice: the same artifact, "
                "the same command.", style="red")  # fmt: skip
    say()
    if found.exit_code:
        say(f"[exit {int(found.exit_code)}]", style="dim")
        say(f"next: correct it, then reactivate target check {found.name}")
    else:
        if not found.components:
            say("It has no components: it can be measured, there is nothing to switch.")
        say("next: reactivate next")


def check_json(found: TargetCheck) -> dict[str, Any]:
    """The same for programs."""
    life = found.life
    return {
        "target": found.name,
        "build": None
        if found.build is None
        else {
            "artifact": str(found.build.artifact),
            "artifact_sha256": found.build.artifact_sha256,
            "seconds": found.build.seconds,
            "cached": found.build.cached,
            "commit": found.build.commit,
            "log": str(found.build.log),
        },
        "facts": None
        if found.facts is None or found.build is None
        else {
            "profile": document(build_profile(found.build.command)),
            **found.facts.document(),
        },
        "life": None
        if life is None
        else {
            "mount_seconds": life.mount_seconds,
            "stop_seconds": life.stop_seconds,
            "threads": life.threads,
            "problem": _problem_json(life.problem),
        },
        "components": [
            {
                "id": each.id,
                "ways": list(each.ways),
                "differs": list(each.differs),
                "witness": each.witness,
                "same_as": each.same_as,
                "proven": each.proven,
                "problem": _problem_json(each.problem),
            }
            for each in found.components
        ],
        "problem": _problem_json(found.problem),
        "broken_word": found.broken_word,
        "exit_code": int(found.exit_code),
    }


def show_spec(spec: TargetSpec) -> None:
    """What the file says, as it is understood."""
    say(f"{spec.name} · {spec.title}", style="bold")
    rows: list[list[Part]] = [["file", str(spec.path)]]
    if spec.source is not None:
        rows.append(["source", str(spec.source)])
    rows += [["build", shlex.join(command)] for command in spec.build]
    rows.append(["artifact", spec.artifact])
    rows.append(["run", shlex.join(spec.run)])
    if spec.run_component:
        rows.append(["each component", shlex.join(spec.run_component)])
    rows += [["environment", f"{name}={value}"] for name, value in spec.environment.items()]
    if spec.configuration is not None:
        rows.append(["configuration", str(spec.configuration)])
    rows.append(["threads", spec.threads.value])
    limits = (spec.build_timeout_seconds, spec.mount_timeout_seconds, spec.stop_timeout_seconds)
    rows.append(["timeouts", "build {:g} s, mount {:g} s, stop {:g} s".format(*limits)])
    print_table(["", ""], rows)
    if spec.components:
        say()
        print_table(
            ["component", "needs", "switched by", "", "witness"],
            [
                [
                    c.id,
                    " ".join(c.needs),
                    " ".join(ways_of(spec, c)),
                    "; ".join(switch.shown() for switch in c.switches),
                    _witness(c),
                ]
                for c in spec.components
            ],
        )
    say(f"next: reactivate target check {spec.name}")


def spec_json(spec: TargetSpec) -> dict[str, Any]:
    """The same for programs."""
    return {
        "target": spec.name,
        "title": spec.title,
        "file": str(spec.path),
        "source": None if spec.source is None else str(spec.source),
        "build": [list(command) for command in spec.build],
        "artifact": spec.artifact,
        "run": list(spec.run),
        "for_each_component": list(spec.run_component),
        "environment": dict(spec.environment),
        "configuration": None if spec.configuration is None else str(spec.configuration),
        "threads": spec.threads.value,
        "debug_information": spec.debug_information,
        "build_timeout_seconds": spec.build_timeout_seconds,
        "mount_timeout_seconds": spec.mount_timeout_seconds,
        "stop_timeout_seconds": spec.stop_timeout_seconds,
        "components": [
            {
                "id": c.id,
                "needs": list(c.needs),
                "ways": list(ways_of(spec, c)),
                "switches": [{"way": s.way.value, "shown": s.shown()} for s in c.switches],
                "witness": _witness(c),
            }
            for c in spec.components
        ],
    }


def _row(each: ComponentCheck) -> Sequence[Part]:
    verdict = Styled("proven", "green") if each.proven else Styled("proves nothing", "red")
    return [
        each.id,
        " ".join(each.ways) or Styled("nothing", "red"),
        " ".join(each.differs),
        each.witness,
        verdict,
    ]


def _problems(found: TargetCheck) -> list[tuple[str, ReactivateError]]:
    problems = [("", found.problem)]
    if found.life is not None:
        problems.append(("", found.life.problem))
    problems += [(f"{each.id}: ", each.problem) for each in found.components]
    return [(where, problem) for where, problem in problems if problem is not None]


def _problem_json(problem: ReactivateError | None) -> dict[str, Any] | None:
    return None if problem is None else error_json(problem, problem.exit_code)


def _witness(component: ComponentSwitch) -> str:
    if component.symbol:
        return f"calls of {component.symbol} during {component.suite}"
    if component.operation is not None:
        return f"{component.operation.read} reads {component.operation.expect.rstrip()!r}"
    return component.witness
