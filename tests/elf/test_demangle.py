"""Readable names, and names that stay the same from build to build."""

from __future__ import annotations

from pathlib import Path

import pytest

from reactivate.elf.demangle import build_independent, demangle

LEGACY = "_ZN3lib4deep4walk17h0123456789abcdefE"
V0 = "_RNvNtCs3vpC3nFvgVP_3lib4deep4walk"


def test_each_language_has_its_own_form() -> None:
    readable, note = demangle([LEGACY, V0, "_ZN4deep4WalkIlE4stepEl", "plain_c", "_Znonsense"])
    assert note == ""
    assert readable[LEGACY] == readable[V0] == "lib::deep::walk"
    assert readable["_ZN4deep4WalkIlE4stepEl"] == "deep::Walk<long>::step(long)"
    assert readable["_Znonsense"] == "_Znonsense"
    assert "plain_c" not in readable


def test_nothing_mangled_needs_no_tool(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert demangle(["main", "walk"]) == ({}, "")


def test_a_tool_that_fails_or_answers_too_little_is_not_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tool = tmp_path / "c++filt"
    monkeypatch.setenv("PATH", str(tmp_path))
    for script, words in (("exit 3", "failed"), ("echo one", "another number of lines")):
        tool.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
        tool.chmod(0o755)
        readable, note = demangle([LEGACY, V0])
        assert readable == {}
        assert words in note


def test_hashes_of_rust_do_not_tell_builds_apart() -> None:
    other = LEGACY.replace("0123456789abcdef", "fedcba9876543210")
    assert build_independent(other) == build_independent(LEGACY) != LEGACY
    assert build_independent(LEGACY + ".llvm.1") != build_independent(LEGACY)
    assert build_independent(V0.replace("3vpC3nFvgVP", "9abC")) == build_independent(V0)
    assert build_independent("_ZN4deep4stepEl") == "_ZN4deep4stepEl"
