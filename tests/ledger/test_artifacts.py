"""Files by their content."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from reactivate.ledger import ArtifactRecord, Ledger, record_artifacts


def test_every_regular_file_is_recorded(tmp_path: Path) -> None:
    folder = tmp_path / "attempt-001"
    (folder / "watermark").mkdir(parents=True)
    (folder / "watermark" / "peaks.json").write_bytes(b"x" * 300_000)
    (folder / "empty").touch()
    (folder / "link").symlink_to("empty")
    os.mkfifo(folder / "pipe")
    found = record_artifacts(folder, {"empty": "nothing was said"})
    assert found == (
        ArtifactRecord(
            path="empty",
            sha256=hashlib.sha256(b"").hexdigest(),
            size_bytes=0,
            note="nothing was said",
        ),
        ArtifactRecord(
            path="watermark/peaks.json",
            sha256=hashlib.sha256(b"x" * 300_000).hexdigest(),
            size_bytes=300_000,
        ),
    )
    (line, _) = subprocess.run(
        ["sha256sum", folder / "watermark" / "peaks.json"], capture_output=True, check=True
    ).stdout.split(maxsplit=1)
    assert found[1].sha256.encode() == line


def test_a_name_that_is_no_text_does_not_lose_the_result(tmp_path: Path, ledger: Ledger) -> None:
    folder = tmp_path / "attempt-001"
    folder.mkdir()
    Path(os.fsdecode(bytes(folder) + b"/d\xfcmp")).write_bytes(b"x")
    attempt = ledger.begin_attempt("a", "baseline", {})
    ledger.finish(attempt, "passed", artifacts=record_artifacts(folder))
    assert [a.path for a in ledger.artifacts(attempt.id)] == ["d\\xfcmp"]


def test_a_folder_without_files_has_none(tmp_path: Path) -> None:
    assert record_artifacts(tmp_path) == ()


def test_a_file_that_cannot_be_read_is_named() -> None:
    """In a process without root's right to pass over permissions."""
    code = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from reactivate.errors import WorkspaceError\n"
        "from reactivate.ledger import record_artifacts\n"
        "if os.geteuid() == 0: os.setegid(65534); os.seteuid(65534)\n"
        "try: record_artifacts(Path(sys.argv[1]))\n"
        "except WorkspaceError as error: print(error.what, error.why)\n"
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "secret").touch(mode=0o000)
        folder.chmod(0o755)
        said = subprocess.run(
            [sys.executable, "-c", code, name], capture_output=True, text=True, check=True
        ).stdout
    assert said == f"the evidence in {name} cannot be read {name}/secret: Permission denied\n"
