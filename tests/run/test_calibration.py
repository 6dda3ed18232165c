"""Calibration: what is known is found, what is planted is seen, and blindness does not hide."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import trio

from reactivate.cli.progress import SilentReporter
from reactivate.errors import BuildError, MissingToolError, UsageError
from reactivate.evidence import Dimension, Measurement, Verdict
from reactivate.instrument.contract import Bench
from reactivate.instrument.registry import INSTRUMENTS
from reactivate.instrument.watermark import Watermark
from reactivate.procfs import fuse_mounts
from reactivate.run import calibration
from reactivate.run.calibrate.programs import Obedient, asked, build
from reactivate.run.calibrate.record import Calibrated, Calibration, Case, Plant, Series
from reactivate.run.calibration import PROCEDURES, calibrate

QUICK = ("watermark", "memory", "latency", "smallest_stack")


@pytest.fixture
def evidence(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "evidence"
    folder.mkdir()
    yield folder
    assert not [m for m in fuse_mounts() if m.mountpoint.is_relative_to(tmp_path)]


def run(project_root: Path, evidence: Path, *only: str) -> Calibration:
    return trio.run(
        partial(
            calibrate,
            sources=project_root / "probes" / "groundtruth",
            configs=project_root / "configs",
            mounts=evidence.parent,
            evidence=evidence,
            reporter=SilentReporter(),
            only=only,
        )
    )


def by_name(found: Calibration) -> dict[str, Calibrated]:
    return {each.instrument: each for each in found.instruments}


def series(*errors: int, least: int = 0, most: int = 0) -> Series:
    cases = tuple(Case(name="x", truth=100, found=100 + error) for error in errors)
    return Series(name="s", dimension=Dimension.BYTES, cases=cases, least=least, most=most)


def planted(without: Verdict, with_it: Verdict) -> Plant:
    return Plant(fault="f", criterion="c", without=without, planted=with_it, observed="o")


# -- what makes an instrument one to lean on -----------------------------------------------


def test_errors_outside_of_what_is_expected_are_not_trusted() -> None:
    red = planted(Verdict.PASS, Verdict.FAIL)
    assert series(-3, 5, least=-3, most=5).errors == (-3, 5)
    assert Calibrated(instrument="i", series=(series(0, 3, most=3),), plants=(red,)).trusted
    assert not Calibrated(instrument="i", series=(series(0, 4, most=3),), plants=(red,)).trusted
    assert not Calibrated(instrument="i", series=(series(-1, most=3),), plants=(red,)).trusted


@pytest.mark.parametrize(
    ("without", "with_it", "red"),
    [
        (Verdict.PASS, Verdict.FAIL, True),
        (Verdict.INCONCLUSIVE, Verdict.FAIL, True),  # a lower bound never passes a `<=`
        (Verdict.PASS, Verdict.PASS, False),  # blind
        (Verdict.FAIL, Verdict.FAIL, False),  # always red
        (Verdict.PASS, Verdict.ERROR, False),  # it did not measure the fault
        (Verdict.ERROR, Verdict.FAIL, False),
    ],
)
def test_red_is_refused_with_the_fault_and_only_with_it(
    without: Verdict, with_it: Verdict, red: bool
) -> None:
    assert planted(without, with_it).red is red
    assert Calibrated(instrument="i", plants=(planted(without, with_it),)).trusted is red


def test_without_a_planted_fault_nothing_was_seen_red() -> None:
    assert not Calibrated(instrument="i", series=(series(0),)).red


def test_every_built_in_instrument_has_a_procedure() -> None:
    assert set(PROCEDURES) == set(INSTRUMENTS)


# -- on this machine -----------------------------------------------------------------------


@pytest.mark.fuse
def test_known_depths_are_found_and_planted_faults_are_refused(
    project_root: Path, evidence: Path, needs_fuse: None
) -> None:
    found = by_name(run(project_root, evidence, *QUICK))
    assert tuple(found) == QUICK
    for each in found.values():
        assert each.missing == ""
        assert each.trusted, each
        assert any((evidence / each.instrument).rglob("*.json"))
    watermark = found["watermark"]
    assert watermark.cases > 100
    exact = [s for s in watermark.series if not s.constant]
    assert {s.errors for s in exact} == {(0, 0)}
    assert max(c.truth for s in exact for c in s.cases) > 7 * 1024 * 1024
    # The constants are real: on a stack used before the bound is never the truth itself.
    assert all(s.errors[0] > 0 for s in watermark.series if s.constant)


@pytest.mark.fuse
@pytest.mark.root
@pytest.mark.slow(8)
def test_tracers_see_what_is_planted(
    project_root: Path, evidence: Path, needs_fuse: None, needs_root: None
) -> None:
    for tool in ("bpftrace",):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed")
    found = by_name(run(project_root, evidence, "growth", "deepest"))
    assert found["growth"].trusted, found["growth"]
    assert found["deepest"].trusted, found["deepest"]
    counts = {s.name: s.cases[0] for s in found["growth"].series}
    assert counts["pages that the kernel touches"].found == 64
    assert found["deepest"].overhead is not None


@pytest.mark.fuse
def test_a_blind_instrument_is_found_out(
    project_root: Path, evidence: Path, needs_fuse: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Watermark.measure

    async def blind(self: Watermark, bench: Bench) -> tuple[Measurement, ...]:
        """Sees only the first operation, whatever is driven."""
        first, found = bench.operations[0].name, await whole(self, bench)
        seen = {m.metric: m for m in found if m.operation == first}
        return tuple(
            m
            if not m.operation
            else Measurement(
                metric=m.metric,
                value=seen[m.metric].value,
                instrument=m.instrument,
                operation=m.operation,
                thread=m.thread,
                samples=(seen[m.metric].samples),
            )
            for m in found
        )

    monkeypatch.setattr(Watermark, "measure", blind)
    (found,) = run(project_root, evidence, "watermark").instruments
    assert not found.red
    assert not found.as_expected
    assert not found.trusted


@pytest.mark.fuse
def test_an_instrument_that_breaks_is_on_record_with_the_reason(
    project_root: Path, evidence: Path, needs_fuse: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(self: Watermark, bench: Bench) -> tuple[Measurement, ...]:
        raise MissingToolError("the paint is dry", hint="buy paint")

    monkeypatch.setattr(Watermark, "measure", broken)
    found = run(project_root, evidence, "watermark")
    (each,) = found.instruments
    assert "the paint is dry" in each.missing
    assert each.hint == "buy paint"
    assert not each.trusted
    assert not found.trusted


def test_without_fuse_the_depths_are_still_known(
    project_root: Path, evidence: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def absent() -> None:
        raise MissingToolError("there is no /dev/fuse", hint="modprobe fuse")

    monkeypatch.setattr(calibration, "check_fuse", absent)
    found = by_name(run(project_root, evidence, "watermark", "memory"))
    assert found["watermark"].cases > 80
    assert found["watermark"].as_expected
    assert not found["watermark"].red
    assert "/dev/fuse" in found["watermark"].missing
    assert "/dev/fuse" in found["memory"].missing
    assert found["memory"].hint == "modprobe fuse"


def test_an_unknown_name_is_refused(project_root: Path, evidence: Path) -> None:
    with pytest.raises(UsageError, match="did you mean `watermark`"):
        run(project_root, evidence, "watermarc")


def test_without_a_compiler_nothing_is_claimed(
    project_root: Path, evidence: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(MissingToolError, match="cc is not installed"):
        run(project_root, evidence)


def test_a_program_that_does_not_compile_is_told_in_the_compilers_words(
    project_root: Path, tmp_path: Path
) -> None:
    sources = tmp_path / "groundtruth"
    shutil.copytree(project_root / "probes" / "groundtruth", sources)
    (sources / "depth.c").write_text("int main(void) { return nonsense; }\n")

    async def compile_it() -> None:
        await build(sources, tmp_path / "built")

    with pytest.raises(BuildError) as raised:
        trio.run(compile_it)
    assert "nonsense" in raised.value.why


# -- the programs --------------------------------------------------------------------------


def test_a_hole_leaves_the_lowest_byte(project_root: Path, tmp_path: Path) -> None:
    programs = trio.run(build, project_root / "probes" / "groundtruth", tmp_path)
    with asked(programs.path("depth", "O2"), "main") as program:
        base, lowest = (int(word, 16) for word in program.ask("65536 h"))
        assert base - lowest == 65536
        with Path(f"/proc/{program.pid}/mem").open("rb", buffering=0) as memory:
            memory.seek(lowest)
            assert memory.read(16) == b"\x5a" * 16
            memory.seek(lowest + 30_000)
            assert memory.read(1000) == bytes(1000)


@pytest.mark.fuse
def test_the_daemon_obeys_on_either_thread(
    project_root: Path, tmp_path: Path, needs_fuse: None
) -> None:
    async def main() -> None:
        programs = await build(project_root / "probes" / "groundtruth", tmp_path / "built")
        for thread in (False, True):
            daemon = Obedient(programs.path("obedient", "O0"), tmp_path, thread=thread)
            async with daemon.mounted() as mounted:
                depths = await trio.to_thread.run_sync(_orders, mounted.mountpoint)
        assert depths[1] - depths[0] == 65536 - 64

    trio.run(main)


def _orders(mountpoint: Path) -> list[int]:
    import errno
    import os

    folder = mountpoint / "f"
    folder.mkdir()
    depths = []
    for size in (64, 65536):
        os.setxattr(folder, "user.do", f"block {size}".encode())
        depths.append(int(os.getxattr(folder, "user.depth")))
    with pytest.raises(OSError) as failed:
        os.setxattr(folder, "user.do", b"fail 5")
    assert failed.value.errno == errno.EIO
    with pytest.raises(OSError):
        os.setxattr(folder, "user.do", b"dance")
    assert not (mountpoint / "other").exists()
    return depths
