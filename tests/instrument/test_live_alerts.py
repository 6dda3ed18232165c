"""Alerts that come while the program still runs."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path

import pytest
import trio
from trace_programs import depths, obedient

from reactivate.evidence import Address, Pid, Tid
from reactivate.instrument.alerts import DEFAULT_SHARES
from reactivate.instrument.contract import Bench
from reactivate.instrument.growth import Growth, areas_of
from reactivate.instrument.live_alerts import LiveAlerts
from reactivate.instrument.stack_areas import StackArea
from reactivate.instrument.touch import Caller, Touch
from reactivate.instrument.touches import recording
from reactivate.run.calibrate.orders import Order, calm
from reactivate.run.calibrate.programs import Obedient, limit_bytes
from reactivate.workload.operation import Operation
from tests.target.daemons import until
from tests.waiting import PATIENCE_SECONDS

KIB = 1024
TOP = 0x7FFE_0000_0000
FRAME = 4128  # of `walk`, see depths.c


@pytest.mark.root
@pytest.mark.parametrize(("arguments", "thread"), [((), "main"), (("thread",), "worker")])
def test_warning_and_critical_while_it_runs(
    needs_root: None, tmp_path: Path, arguments: tuple[str, ...], thread: str
) -> None:
    if shutil.which("bpftrace") is None:
        pytest.skip("bpftrace is not installed")
    said: list[str] = []

    async def main() -> None:
        with depths(*arguments) as subject:
            areas = await areas_of(subject.pid)
            (limit,) = [a.limit_bytes for a in areas if a.thread == thread]
            alerts = LiveAlerts(
                subject.pid, areas, DEFAULT_SHARES, where=lambda _: "it, repetition 0",
                say=said.append,
            )  # fmt: skip
            async with recording(subject.pid, areas, tmp_path, "bpftrace", live=alerts.touched):
                for share, lines in ((0.70, 0), (0.80, 1), (0.85, 1), (0.95, 2)):
                    command = f"walk {int(share * limit / FRAME)}"
                    await trio.to_thread.run_sync(subject.do, command)
                    await until(lambda: len(said) >= lines, f"{lines} alerts")  # noqa: B023
                    assert subject.lives()
            assert [alert.critical for alert in alerts.raised] == [False, True]
            assert all(alert.depth_bytes > 0.75 * limit for alert in alerts.raised)

    trio.run(main)
    # Each once, however often it is passed.
    warning, critical = said
    assert warning.startswith(f"warning: {thread} thread")
    assert "75% of its stack" in warning
    assert "of 8.00 MiB" in warning
    assert "during it, repetition 0" in warning
    assert "in walk+" in warning
    assert critical.startswith("critical:")
    assert "90%" in critical


class Hearing:
    """A reporter that tells whoever waits that it has heard an alert."""

    def __init__(self) -> None:
        self.alerts: list[str] = []
        self.two = threading.Event()

    def advance(self, done: int, total: int, doing: str) -> None:
        """Nobody asks."""

    def alert(self, text: str) -> None:
        self.alerts.append(text)
        if len(self.alerts) == 2:
            self.two.set()


@pytest.mark.fuse
@pytest.mark.root
@pytest.mark.parametrize("thread", [False, True], ids=["main", "worker"])
def test_the_reporter_hears_it_before_the_run_is_over(
    needs_fuse: None, needs_root: None, tmp_path: Path, thread: bool
) -> None:
    """The workload itself waits for the alerts, between one operation and the next."""
    if shutil.which("bpftrace") is None:
        pytest.skip("bpftrace is not installed")
    reporter, heard = Hearing(), list[bool]()

    def wait(folder: Path, repetition: int) -> None:
        heard.append(reporter.two.wait(PATIENCE_SECONDS))

    deep = Order(name="deep", text=f"block {int(0.95 * limit_bytes())}")
    waiting = Operation(name="waiting", suite="it", opcodes=(), run=wait)
    before = calm("before").operation
    (tmp_path / "evidence").mkdir()

    async def main() -> None:
        daemon = Obedient(obedient(), tmp_path, thread=thread)
        await Growth().measure(
            Bench(
                subject=daemon,
                operations=(before, deep.operation, waiting),
                folder=tmp_path / "evidence",
                reporter=reporter,
                settings={"repeats": 1, "tracer": "bpftrace"},
            )
        )

    trio.run(main)
    assert heard == [True]
    assert [text.partition(":")[0] for text in reporter.alerts] == ["warning", "critical"]
    kind = "worker" if thread else "main"
    assert all(f"{kind} thread" in text and "during deep" in text for text in reporter.alerts)


def area(**changes: object) -> StackArea:
    values: dict[str, object] = {
        "tid": Tid(7), "main": True, "start": Address(TOP - 64 * KIB), "end": Address(TOP),
        "limit_bytes": 1000 * KIB, "resident_bytes": 1,
    }  # fmt: skip
    return StackArea(**{**values, **changes})  # type: ignore[arg-type]


def touch(depth: int, tid: int = 7, *, top: int = TOP) -> Touch:
    return Touch(
        tid=Tid(tid), kernel=False, address=Address(top - depth), instruction=Address(1),
        time_ns=0, chain=(Caller(address=Address(1), symbol="walk+26"),),
    )  # fmt: skip


def test_each_stack_has_its_own_limit() -> None:
    said: list[str] = []
    small_top = 0x1000_0000
    small = area(
        tid=Tid(8), main=False, start=Address(small_top - 100 * KIB), end=Address(small_top),
        limit_bytes=100 * KIB,
    )  # fmt: skip
    alerts = LiveAlerts(
        Pid(7), [area(), small], DEFAULT_SHARES, where=lambda _: "", say=said.append
    )
    alerts.touched(touch(750 * KIB))
    assert said == []
    alerts.touched(touch(80 * KIB, 8, top=small_top))
    alerts.touched(touch(81 * KIB, 8, top=small_top))
    assert len(said) == 1
    assert said[0].startswith("warning: worker thread 8")
    assert said[0].endswith("in walk+26")
    alerts.touched(touch(901 * KIB))
    assert [line.partition(":")[0] for line in said] == ["warning", "warning", "critical"]


def test_a_touch_of_other_memory_is_no_alert() -> None:
    said: list[str] = []
    alerts = LiveAlerts(Pid(7), [area()], DEFAULT_SHARES, where=lambda _: "", say=said.append)
    alerts.touched(touch(-4096))
    alerts.touched(touch(5000 * KIB))
    assert said == []
