"""Programs whose frame sizes the compiler itself has written down (`gcc -fstack-usage`)."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

SOURCE = """
#include <alloca.h>
void sink(void *);
int nine(int, int, int, int, int, int, int, int, int);
void _start(void) {}
__attribute__((noinline)) void empty(void) { __asm__ volatile(""); }
int many(int a) { return nine(a,2,3,4,5,6,7,8,9) + nine(a,9,8,7,6,5,4,3,2); }
int odd(int a) { char b[40]; sink(b); return a ? nine(a,2,3,4,5,6,7,8,9) + b[1] : b[0]; }
void small(void) { char b[100]; sink(b); }
void page(void) { char b[4096]; sink(b); }
void over_page(void) { char b[5000]; sink(b); }
void pages(void) { char b[20000]; sink(b); }
void big(void) { char b[300000]; sink(b); }
void mebibyte(void) { char b[1 << 20]; sink(b); }
void array(int n) { char b[n]; sink(b); }
void arrays(int n) { for (int i = 0; i < n; i++) { char b[i + 1]; sink(b); } }
void taken(int n) { char c[50]; sink(c); sink(alloca(n)); }
void taken_big(int n) { char c[70000]; sink(c); sink(alloca(n)); }
void taken_fixed(void) { sink(alloca(9000)); }
void aligned(void) { char b[100] __attribute__((aligned(64))); sink(b); }
void aligned_far(int n) { char b[9000] __attribute__((aligned(256))); sink(b); if (n) sink(b + n); }
int saved(int a, int b, int c, int d, int e, int f) {
    int x = nine(a,b,c,d,e,f,a,b,c);
    sink(&x);
    return x + a * b + c * d + e * f + nine(f,e,d,c,b,a,x,x,x);
}
int early(int a, int *p) {
    if (!p) return a;
    char b[200]; sink(b);
    while (a--) { if (p[a] == 7) return nine(p[a],a,1,2,3,4,5,6,7); sink(p); }
    return b[3];
}
int choose(int a, int b) {
    switch (a) {
    case 0: sink(&a); return 5;
    case 1: return nine(b,2,3,4,5,6,7,8,9);
    case 2: sink(&b); return nine(b,2,3,4,5,6,7,8,8) + 1;
    case 3: { char c[3000]; sink(c); return c[b]; }
    case 4: sink(&b); sink(&a); return 1;
    case 5: return b * 3 + nine(a,2,3,4,5,6,7,8,8);
    default: return b;
    }
}
"""

FLAGS = (
    "-O0",
    "-O0 -fomit-frame-pointer",
    "-O0 -fstack-clash-protection",
    "-O1 -fno-omit-frame-pointer",
    "-O2",
    "-O2 -fno-omit-frame-pointer",
    "-O2 -fstack-clash-protection",
    "-O2 -fstack-clash-protection -fno-omit-frame-pointer",
    "-O3 -mavx2 -fno-omit-frame-pointer",
    "-Os",
    "-Os -fno-omit-frame-pointer",
    "-O2 -fstack-protector-all -fcf-protection=full -fno-omit-frame-pointer",
    "-O2 -fno-asynchronous-unwind-tables -funwind-tables",
    "-O2 -fno-asynchronous-unwind-tables -fno-unwind-tables -g",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What the compiler says: bytes with the return address, and static, dynamic or bounded."""

    size_bytes: int
    kind: str


def compile_program(folder: Path, flags: str, *, source: str = SOURCE, tool: str = "gcc") -> Path:
    """A shared library in `folder`, and `unit.su` beside it."""
    unit = folder / ("unit.c" if tool == "gcc" else "unit.cc")
    unit.write_text(source, encoding="utf-8")
    compiler = shutil.which(tool)
    assert compiler, f"{tool} is not installed"
    options = ["-fPIC", "-fcommon", "-fstack-usage", "-w", *flags.split()]
    for command in (
        [compiler, *options, "-c", unit.name, "-o", "unit.o"],
        [compiler, "-shared", "-nostdlib", "-Wl,--build-id=none", "unit.o", "-o", "unit.so"],
    ):
        subprocess.run(command, cwd=folder, check=True, timeout=120)
    return folder / "unit.so"


def usage(folder: Path) -> dict[str, Usage]:
    """The compiler's own table."""
    found = {}
    for line in (folder / "unit.su").read_text(encoding="utf-8").splitlines():
        place, size, kind = line.rsplit("\t", 2)
        found[place.split(":", 3)[3]] = Usage(size_bytes=int(size), kind=kind)
    return found


def c_library() -> Path:
    """The C library of this very process."""
    maps = Path("/proc/self/maps").read_text(encoding="utf-8")
    found = re.search(r"(/\S+/libc\.so\.6)$", maps, re.MULTILINE)
    assert found, "this interpreter has no shared C library"
    return Path(found[1])
