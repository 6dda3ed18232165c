"""Alert shares: defaults, the laid out file, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from reactivate.errors import ConfigurationError
from reactivate.instrument.alerts import AlertShares, load
from reactivate.instrument.contract import Configurable
from reactivate.instrument.growth import Growth

CONFIGS = Path(__file__).resolve().parents[2] / "configs"


def test_the_laid_out_file_holds_the_defaults(tmp_path: Path) -> None:
    assert load(CONFIGS) == load(tmp_path) == AlertShares(warning=0.75, critical=0.90)
    growth = Growth()
    assert isinstance(growth, Configurable)
    growth.configure(CONFIGS)


def test_alerts_can_come_earlier(tmp_path: Path) -> None:
    (tmp_path / "ebpf.toml").write_text("[alerts]\nwarning_percent = 25\n")
    assert load(tmp_path) == AlertShares(warning=0.25, critical=0.90)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("[alerts]\nwarning_percent = 76\n", 2),
        ("[alerts]\n\ncritical_percent = 90.5\n", 3),
        ("[alerts]\nwarning_percent = 0\n", 2),
        ("[alerts]\nwarning_percent = nan\n", 2),
        ("[alerts]\nwarning_percent = 50\ncritical_percent = 40\n", 2),
        ("[alerts]\nrecursion = 100\n", 2),
        ("[alarms]\n", 1),
        ('[alerts]\nwarning_percent = "all"\n', 2),
    ],
)
def test_later_alerts_and_unknown_keys_are_refused(tmp_path: Path, text: str, line: int) -> None:
    (tmp_path / "ebpf.toml").write_text(text)
    with pytest.raises(ConfigurationError) as caught:
        load(tmp_path)
    assert f"ebpf.toml:{line}: " in caught.value.why
