"""What is known of a build's profile."""

from __future__ import annotations

from pathlib import Path

import pytest

from reactivate.evidence import NotMeasured
from reactivate.target.build_profile import build_profile

MANIFEST = """\
[profile.profiling]
inherits = "release"
opt-level = 1
debug = true
[profile.loop]
inherits = "loop"
"""


@pytest.mark.parametrize(
    ("profile", "told"),
    [
        (["--profile", "profiling"], "profiling: opt-level 1, debug true, lto false, "
         "codegen-units 16, panic unwind"),
        (["--release"], "release: opt-level 3, debug false, lto false, codegen-units 16, "
         "panic unwind"),
        ([], "dev: opt-level 0, debug true, lto false, codegen-units 256, panic unwind"),
        (["--profile=loop"], "loop"),
    ],
)  # fmt: skip
def test_cargo_by_its_manifest(tmp_path: Path, profile: list[str], told: str) -> None:
    manifest = tmp_path / "Cargo.toml"
    manifest.write_text(MANIFEST)
    assert build_profile(["cargo", "build", "--manifest-path", str(manifest), *profile]) == told


def test_what_others_name() -> None:
    assert build_profile(["cmake", "-DCMAKE_BUILD_TYPE=RelWithDebInfo", "."]) == "RelWithDebInfo"
    assert build_profile(["cargo", "build", "--release"]) == "release"
    assert build_profile(["cargo", "build", "--manifest-path=/nowhere"]).startswith("dev: its")
    assert isinstance(build_profile(["make", "all"]), NotMeasured)
    assert isinstance(build_profile([]), NotMeasured)
