"""Fuzzing that looks which lines each input reaches, for as long as somebody wants.

`python -m tests.fuzz.guided SECONDS [READER …]` fuzzes each reader of `parsers` in a process of its
own. It needs atheris, which is no dependency: `pip install atheris`. Without it nothing is fuzzed,
and that is said. An input that breaks a reader is kept, and its file named.
"""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
import tempfile
from pathlib import Path

_ONE = "--one"
_SLOWEST_SECONDS = 20
_LARGEST_BYTES = 1 << 16
_RUNS = re.compile(rb"^Done (\d+) runs|stat::number_of_executed_units: (\d+)", re.M)


def _one(name: str, folder: Path, options: list[str]) -> None:
    """Fuzz one reader until the time is over; ends the process."""
    import atheris

    with atheris.instrument_imports(include=["reactivate"], enable_loader_override=False):
        from tests.fuzz.damage import answered
        from tests.fuzz.parsers import parsers

    parser = parsers(folder)[name]
    corpus = folder / "corpus"
    corpus.mkdir()
    for number, raw in enumerate(parser.real):
        (corpus / f"real-{number}").write_bytes(raw)
    atheris.Setup(
        [sys.argv[0], *options, str(corpus)],
        lambda raw: answered(lambda: parser.read(raw, folder)) and None,
    )
    atheris.Fuzz()


def _names() -> list[str]:
    from tests.fuzz.parsers import parsers

    with tempfile.TemporaryDirectory() as folder:
        return list(parsers(Path(folder)))


def main(seconds: int, names: list[str]) -> int:
    """Fuzz each reader for some seconds; how many of them broke."""
    if importlib.util.find_spec("atheris") is None:
        print("not fuzzed by coverage: atheris is not installed (pip install atheris)")
        return 0
    broken = 0
    for name in names or _names():
        kept = Path(tempfile.gettempdir()) / f"broke-{name.replace(' ', '-')}-"
        with tempfile.TemporaryDirectory() as folder:
            done = subprocess.run(
                [
                    sys.executable, "-m", "tests.fuzz.guided", _ONE, name, folder,
                    f"-max_total_time={seconds}", f"-timeout={_SLOWEST_SECONDS}",
                    f"-max_len={_LARGEST_BYTES}", f"-artifact_prefix={kept}", "-rss_limit_mb=2048",
                ],
                capture_output=True, check=False, timeout=seconds + 300,
            )  # fmt: skip
        said = done.stdout + done.stderr
        runs = [int(a or b) for a, b in _RUNS.findall(said)]
        told = f"{max(runs, default=0):,} inputs"
        if done.returncode:
            broken += 1
            told = said.decode("utf-8", "replace")[-3000:]
        print(f"{name:14}{told}", flush=True)
    return broken


if __name__ == "__main__":
    if sys.argv[1] == _ONE:
        _one(sys.argv[2], Path(sys.argv[3]), sys.argv[4:])
    sys.exit(main(int(sys.argv[1]), sys.argv[2:]) > 0)
