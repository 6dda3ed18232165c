"""configs/ebpf.toml: from which share of its stack on a thread is worth an alert."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from reactivate.tomlfile import TomlFile

FILE = "ebpf.toml"
WARNING_SHARE = 0.75
CRITICAL_SHARE = 0.90


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertShares:
    """Parts of a thread's limit.

    Attributes:
        warning: a first touch beyond it is an alert.
        critical: a first touch beyond it is marked as critical in the evidence.
    """

    warning: float = WARNING_SHARE
    critical: float = CRITICAL_SHARE


DEFAULT_SHARES = AlertShares()


def load(configs: Path) -> AlertShares:
    """The table `alerts`; the defaults if there is no such file.

    Raises:
        ConfigurationError: with every fault and its line.
    """
    path = configs / FILE
    if not path.exists():
        return DEFAULT_SHARES
    file = TomlFile(path)
    file.known({"alerts"})
    file.known(("warning_percent", "critical_percent"), "alerts")
    found = {}
    for key, most in (("warning_percent", WARNING_SHARE), ("critical_percent", CRITICAL_SHARE)):
        percent = file.value(float, most * 100, "alerts", key) or 0.0
        # Only earlier, never later: a setting must not turn a refusal into a pass.
        if not 0 < percent <= most * 100:
            file.fault(
                f"`alerts.{key}` must be more than 0 and at most {most * 100:g}", "alerts", key
            )
        found[key] = percent / 100
    if found["warning_percent"] > found["critical_percent"]:
        file.fault(
            "the warning must not come after the critical alert", "alerts", "warning_percent"
        )
    file.finish()
    return AlertShares(warning=found["warning_percent"], critical=found["critical_percent"])
