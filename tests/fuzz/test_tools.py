"""Damaged output of perf, bpftrace and valgrind, texts of /proc: a value or an error of ours."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reactivate import procfs
from reactivate.evidence import NotMeasured
from reactivate.instrument import allocations, massif, memcheck, perf_tool, requests, touch
from reactivate.procfs import Pid
from tests.fuzz.damage import answered, encoded, examples, texts

_MAPS = [
    {"type": "attached_probes", "data": {"probes": 3}},
    {"type": "map", "data": {"@requests": {"1": 5, "15": 7}, "@waiting": {"9": 15}}},
    {"type": "map", "data": {"@answered": {"15,0": 5, "15,-2": 1}, "@longest_ns": {"15": 900}}},
    {"type": "hist", "data": {"@latency_ns": {"15": [{"min": 512, "max": 1023, "count": 5}]}}},
    {"type": "map", "data": {"@calls": {"mmap": 3}, "@bytes": {"mmap": 4096}, "@largest": 4096}},
    {"type": "map", "data": {"@where": {"f,\n  a+1 (x)\n  b+2 (x)\n": 2}}},
    {"type": "printf", "data": "end\n"},
]
_JSON = "".join(json.dumps(event) + "\n" for event in _MAPS)
TOUCHES = (
    "u 12 7ffc00001000 401000 123456789\n\t401000 deep+16\n\t401100 main+5\n\n"
    "k 12 7ffc00000000 ffffffff81000000 123456790\n\n"
    "T u 12 7ffc00001000 401000 123456789\nLost 5 events\n"
)
_STAT = (
    "1234,,page-faults:u,1000000,100.00,,\n<not supported>,,cycles,0,0.00,,\n"
    "5.2,msec,task-clock,1,99.00,,\n"
)
_SCRIPT = (
    "  page-faults:u: 401136 deep+0x10 (/tmp/a)\n cpu-clock:  ffffffff81 [unknown] ([kernel])\n"
    "  12 5.123456789: 7ffc00001000 401136\nPERF_RECORD_LOST lost 7\n"
)
_MASSIF = (
    "desc: x\ncmd: y\ntime_unit: i\n"
    "snapshot=0\ntime=0\nmem_heap_B=0\nmem_heap_extra_B=0\nmem_stacks_B=0\nheap_tree=empty\n"
    "snapshot=1\ntime=9\nmem_heap_B=5\nmem_heap_extra_B=1\nmem_stacks_B=16\nheap_tree=empty\n"
)
MEMCHECK = (
    "<?xml version='1.0'?><valgrindoutput><error><unique>0x1</unique><kind>Leak_DefinitelyLost"
    "</kind><xwhat><text>8 bytes lost</text><leakedbytes>8</leakedbytes><leakedblocks>1"
    "</leakedblocks></xwhat><stack><frame><ip>0x1</ip><obj>/a</obj><fn>f</fn><line>3</line>"
    "</frame></stack></error><errorcounts><pair><count>2</count><unique>0x1</unique></pair>"
    "</errorcounts><suppcounts><pair><count>1</count><name>s</name></pair></suppcounts><status>"
    "<state>FINISHED</state></status></valgrindoutput>"
)

LINES: dict[str, tuple[str, Callable[[list[str]], object]]] = {
    "requests": (_JSON, requests.parse_requests),
    "allocations": (_JSON, allocations.parse_counts),
    "touches": (TOUCHES, touch.parse_bpftrace),
    "perf touches": (_SCRIPT, lambda lines: touch.parse_perf(lines, (), Pid(12))),
    "perf stat": (_STAT, perf_tool.parse_stat),
    "perf script": (_SCRIPT, perf_tool.parse_script),
    "massif": (_MASSIF, massif.parse_massif),
}


@pytest.mark.parametrize("name", LINES)
@examples()
@given(data=st.data())
def test_lines(name: str, data: st.DataObject) -> None:
    real, parse = LINES[name]
    answered(lambda: parse(data.draw(texts([real])).splitlines(keepends=True)))


def test_the_undamaged_lines_are_read() -> None:
    assert requests.parse_requests(_JSON.splitlines()).total == 12
    assert not isinstance(allocations.parse_counts(_JSON.splitlines()), NotMeasured)
    assert len(perf_tool.parse_stat(_STAT.splitlines())) == 3
    assert len(massif.parse_massif(_MASSIF.splitlines()).snapshots) == 2


@examples()
@given(text=texts([MEMCHECK]))
def test_memcheck(text: str, tmp_path: Path) -> None:
    path = tmp_path / "memcheck.xml"
    path.write_bytes(encoded(text))
    answered(lambda: memcheck.parse_memcheck(path, Path("/a")))


_PROC: dict[str, Callable[[str], object]] = {
    "stat": procfs.parse_stat,
    "maps": procfs.parse_maps,
    "mountinfo": procfs.parse_mountinfo,
    "limits": procfs.parse_stack_limit,
}
_CALL = "0 0x3 0x7f 0x1000 0x0 0x0 0x0 0x7ffc00001000 0x7f0000001000\n"


@pytest.mark.parametrize("name", [*_PROC, "syscall"])
@examples()
@given(data=st.data())
def test_proc(name: str, data: st.DataObject) -> None:
    real = _CALL if name == "syscall" else (Path("/proc/self") / name).read_text()
    if name == "mountinfo":
        real += "40 30 0:50 / /mnt/a\\040b rw - fuse.x source rw,user_id=0\n"
    parse = _PROC.get(name, procfs.parse_syscall)
    answered(lambda: parse(data.draw(texts([real]))))


@examples()
@given(name=st.text(st.characters(exclude_characters="\0"), max_size=15))
def test_no_name_of_a_process_moves_the_fields(name: str) -> None:
    fields = " ".join(str(n) for n in range(5, 53))
    found = procfs.parse_stat(f"7 ({name}) S 4 {fields}\n")
    assert (found.command, found.state, found.parent) == (name, "S", 4)
    assert (found.threads, found.start_ticks) == (20, 22)
