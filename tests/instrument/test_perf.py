"""perf against a program with a known number of page faults and switches, and on a real mount."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trio
from bindfs import bench
from memory_programs import built, needs

from reactivate.errors import (
    ConfigurationError,
    MeasurementError,
    MissingToolError,
    PrivilegeError,
)
from reactivate.evidence import Bound, Measurement, NotMeasured, Pid, Tid
from reactivate.instrument import perf_settings
from reactivate.instrument.contract import Configurable, Instrument
from reactivate.instrument.memory import Baseline, Reading
from reactivate.instrument.perf import Counted, Perf, measurements, missing_controllers
from reactivate.instrument.perf_settings import PerfSettings
from reactivate.instrument.perf_tool import (
    PARANOID_HINT,
    Count,
    Samples,
    attached,
    kernel_side_visible,
    not_started,
    parse_script,
    parse_stat,
    refused_event,
)
from reactivate.procfs import context_switches
from reactivate.workload.suites import SUITES

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
READING = Reading(rss_bytes=1000, peak_rss_bytes=5000, minor_faults=0, major_faults=0)


class Faults:
    """A running `faults`."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.pid = process.pid

    def do(self, line: str) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        assert self._process.stdout.readline() == "done\n"


@contextmanager
def faults() -> Iterator[Faults]:
    needs("perf", "linux-perf")
    with subprocess.Popen(
        [built() / "faults"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            running = Faults(process)
            running.do("sleep 1")
            yield running
        finally:
            process.kill()


def switched(pid: int) -> int:
    found = context_switches(Pid(pid), Tid(pid))
    return found.voluntary + found.involuntary


def counted(
    folder: Path, events: str, line: str, switches: list[int] | None = None
) -> dict[str, Count]:
    """Count while the program does one thing; it does another before and after.

    Args:
        switches: gets the program's switches by now: before perf, in it twice, after it.
    """
    seen = [] if switches is None else switches

    async def main() -> None:
        with faults() as program:
            await trio.to_thread.run_sync(program.do, "touch 300")
            out = folder / "stat.csv"
            arguments = ("stat", "-x,", "-e", events, "-p", str(program.pid), "-o", str(out))
            seen.append(switched(program.pid))
            async with attached(arguments, folder / "log"):
                seen.append(switched(program.pid))
                await trio.to_thread.run_sync(program.do, line)
                seen.append(switched(program.pid))
            seen.append(switched(program.pid))
            await trio.to_thread.run_sync(program.do, "touch 300")

    trio.run(main)
    return {c.event: c for c in parse_stat((folder / "stat.csv").read_text().splitlines())}


def made(*counts: Count, faults: Samples | None = None, lost: int = 0) -> dict[str, Measurement]:
    """The measurements for these counts; plain ones where none is given."""
    plain = {
        name: count(name)
        for name in ("page-faults", "context-switches", "task-clock", "cache-misses")
    }
    whole = Counted(
        counts=plain | {c.event.partition(":")[0]: c for c in counts},
        bandwidth=(),
        before=Baseline(reading=READING, reset=True),
        after=READING,
    )
    return {m.metric: m for m in measurements(whole, faults, lost, ("imc",), evidence="e")}


def count(event: str, value: float | None = 7.0, **changes: object) -> Count:
    fields = {"event": event, "value": value, "unit": "", "share": 1.0, "absent": ""}
    return Count(**{**fields, **changes})  # type: ignore[arg-type]


@pytest.mark.root
@pytest.mark.parametrize("pages", [64, 5000])
def test_every_page_fault_of_the_workload_is_counted_and_no_other(
    needs_root: None, tmp_path: Path, pages: int
) -> None:
    found = counted(tmp_path, "page-faults", f"touch {pages}")["page-faults"]
    assert found.value is not None
    assert pages <= found.value <= pages + 8


@pytest.mark.root
def test_every_time_the_program_sleeps_is_a_switch(needs_root: None, tmp_path: Path) -> None:
    switches: list[int] = []
    found = counted(tmp_path, "context-switches", "sleep 50", switches)["context-switches"]
    assert found.value is not None
    # Sleeping is a switch; being preempted on a busy machine is another. The kernel counts both.
    before, first, last, after = switches
    assert 50 <= last - first <= found.value <= after - before


@pytest.mark.root
def test_page_faults_are_put_down_to_their_function(needs_root: None, tmp_path: Path) -> None:
    async def main() -> str:
        with faults() as program:
            data = tmp_path / "perf.data"
            arguments = (
                "record", "-q", "-e", "page-faults/period=1/", "-e", "cpu-clock/freq=999/",
                "-p", str(program.pid), "-o", str(data),
            )  # fmt: skip
            async with attached(arguments, tmp_path / "log"):
                await trio.to_thread.run_sync(program.do, "touch 2000")
        script = ["perf", "script", "-i", str(data), "-F", "event,ip,sym,dso", "-G"]
        return subprocess.run(script, capture_output=True, text=True, check=True, timeout=60).stdout

    samples, lost = parse_script(trio.run(main).splitlines())
    assert lost == 0
    assert samples["page-faults"].functions["touch_pages", str(built() / "faults")] == 2000


@pytest.mark.fuse
@pytest.mark.root
def test_a_real_mount(needs_fuse: None, needs_root: None, tmp_path: Path) -> None:
    needs("perf", "linux-perf")
    instrument = Perf()
    instrument.configure(CONFIGS)
    assert instrument.availability().ready
    found = trio.run(instrument.measure, bench(tmp_path, SUITES["posix"]))
    by = {m.metric: m for m in found}
    assert tuple(by) == Perf.measures
    for metric in ("perf.faults", "perf.context_switches", "perf.cpu", "perf.attributed"):
        value = by[metric].value
        assert not isinstance(value, NotMeasured), value
        assert value > 0
    document = json.loads((tmp_path / "evidence" / "perf.json").read_text())
    asked = {"page-faults", "cache-misses", *PerfSettings().counters, "LLC-loads", "minor-faults"}
    assert asked <= set(document["counts"])
    assert document["functions"]["page-faults"]["samples"] > 0
    for metric, event in (("perf.cache_misses", "cache-misses"),):
        supported = document["counts"][event]["value"] is not None
        assert isinstance(by[metric].value, NotMeasured) is not supported


@pytest.mark.root
def test_an_ordinary_user_gets_no_switches_that_were_not_seen(
    needs_root: None, tmp_path: Path
) -> None:
    needs("perf", "linux-perf")
    if int(Path("/proc/sys/kernel/perf_event_paranoid").read_text()) != 2:
        pytest.skip("kernel.perf_event_paranoid is not 2")
    said = subprocess.run(
        ["perf", "stat", "-x,", "-e", "page-faults,context-switches", "--", "true"],
        user=65534, group=65534, extra_groups=[], cwd="/", capture_output=True, text=True,
        check=True, timeout=60,
    )  # fmt: skip
    counts = parse_stat(said.stderr.splitlines())
    assert [c.event for c in counts] == ["page-faults:u", "context-switches:u"]
    found = made(*counts)
    assert found["perf.faults"].bound is Bound.LOWER
    value = found["perf.context_switches"].value
    assert isinstance(value, NotMeasured)
    assert PARANOID_HINT in value.reason


def test_what_the_machine_cannot_count_is_not_measured() -> None:
    lines = [
        "# started on Sun Nov 22 22:13:56 2026",
        "",
        "19,,page-faults,12920227,100.00,1.471,K/sec",
        "<not supported>,,cache-misses,0,100.00,,",
        "<not counted>,,LLC-loads,0,0.00,,",
        "12.92,msec,task-clock,12920227,100.00,0.533,CPUs utilized",
        "3.5,MiB,uncore_imc/event=0x4,umask=0x3/,12920227,100.00,,",
        "7,,cpu/event=0x3c,umask=0x0/u,12920227,100.00,,",
    ]
    faults, misses, loads, clock, imc, cpu = parse_stat(lines)
    assert (faults.value, clock.unit, imc.unit) == (19.0, "msec", "MiB")
    assert imc.event == "uncore_imc/event=0x4,umask=0x3/"
    assert cpu.event == "cpu/event=0x3c,umask=0x0/u"
    assert misses.value is None and "not supported here" in misses.absent
    assert loads.value is None and "not counted" in loads.absent
    found = made(misses, clock)
    assert isinstance(found["perf.cache_misses"].value, NotMeasured)
    assert found["perf.cpu"].value == 12_920_000
    bandwidth = found["perf.bandwidth"].value
    assert isinstance(bandwidth, NotMeasured) and "imc" in bandwidth.reason


def test_a_count_that_perf_scaled_up_was_not_measured() -> None:
    value = made(count("cache-misses", share=0.43))["perf.cache_misses"].value
    assert isinstance(value, NotMeasured)
    assert "43%" in value.reason


def test_lost_samples_leave_no_share() -> None:
    samples = Samples(total=4, functions={("f", "/x/y"): 3, ("[unknown]", "/x/z"): 1})
    assert made(faults=samples)["perf.attributed"].value == 0.75
    assert "f (y): 75%" in made(faults=samples)["perf.faults"].note
    assert isinstance(made(faults=samples, lost=2)["perf.attributed"].value, NotMeasured)
    assert isinstance(made()["perf.attributed"].value, NotMeasured)


def test_growth_is_from_what_was_resident_to_the_peak() -> None:
    assert made()["perf.rss_growth"].value == 4000


@pytest.mark.parametrize("line", ["nonsense", "a,b", "x,,page-faults,1,100.00,,", "1,,p,1,y,,"])
def test_a_line_that_is_no_count_is_an_error(line: str) -> None:
    with pytest.raises(MeasurementError):
        parse_stat([line])


def test_samples_by_function() -> None:
    samples, lost = parse_script(
        [
            "page-faults/period=1/u:      7fca3080bb70 _start (/usr/lib/ld.so)",
            "page-faults/period=1/u:      7fca3080bb70 std::f(int, char) (/opt/a b (deleted))",
            "page-faults/period=1/u:      7fca3080bb71 [unknown] (/usr/lib/ld.so)",
            "  cpu-clock/freq=999/:  ffffffff81775b9a elf_load ([kernel.kallsyms])",
            "PERF_RECORD_LOST lost 12",
        ]
    )
    assert lost == 12
    assert samples["page-faults"].total == 3
    assert samples["page-faults"].known == 2
    assert samples["page-faults"].functions["std::f(int, char)", "/opt/a b (deleted)"] == 1
    assert samples["cpu-clock"].total == 1


def test_a_refusal_names_the_command_that_mends_it() -> None:
    error = not_started("Error:\nAccess to performance monitoring ... perf_event_paranoid ...")
    assert isinstance(error, PrivilegeError)
    assert error.hint == PARANOID_HINT
    assert isinstance(not_started(""), MissingToolError)


def test_perf_that_ends_at_once_says_why(tmp_path: Path) -> None:
    needs("perf", "linux-perf")

    async def main() -> None:
        async with attached(("stat", "-e", "no-such-event", "-p", "1"), tmp_path / "log"):
            pytest.fail("perf cannot have started")

    with pytest.raises(MissingToolError) as caught:
        trio.run(main)
    assert "no-such-event" in caught.value.why


def test_settings_and_their_faults(tmp_path: Path) -> None:
    needs("perf", "linux-perf")
    assert perf_settings.load(tmp_path, PerfSettings(top=3)) == PerfSettings(top=3)
    assert perf_settings.load(CONFIGS, PerfSettings()).counters
    (tmp_path / "perf.toml").write_text(
        '[perf]\nrepeats = 0\ncounters = ["cycles", "no-such-event"]\n'
        'bandwidth = ["loads"]\nthreshold = 3\n'
    )
    with pytest.raises(ConfigurationError) as caught:
        perf_settings.load(tmp_path, PerfSettings())
    faults = [line.partition("perf.toml:")[2] for line in caught.value.why.splitlines()]
    assert [fault.partition(":")[0] for fault in faults] == ["2", "3", "4", "5"]
    assert "no-such-event" in faults[1]


def test_names_of_events() -> None:
    needs("perf", "linux-perf")
    assert refused_event("page-faults") == ""
    assert refused_event("cache-misses") == ""  # known, whether or not this machine has it
    assert refused_event("page-fault-s")


def test_controllers_that_are_not_there() -> None:
    assert missing_controllers(("software/x/",)) == ()
    assert missing_controllers(("no_such/x/", "no_such/y/")) == ("no_such",)


def test_it_says_what_it_needs() -> None:
    needs("perf", "linux-perf")
    contract: Instrument = Perf()
    assert isinstance(contract, Configurable)
    found = contract.availability()
    assert found.ready or found.hint
    assert kernel_side_visible() or found.hint == PARANOID_HINT
