"""Commands as an ordinary user would run them, from tests that root runs."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path

NOBODY = 65534
_ROOT = Path(__file__).resolve().parents[2]

# A device that everybody may open, as udev makes it; root's own may be closed in a container.
_SCRIPT = """\
mknod -m 666 "$1" c 10 229 && mount --bind "$1" /dev/fuse && shift &&
exec setpriv --reuid=65534 --regid=65534 --clear-groups -- "$@"
"""


def python() -> tuple[str, str] | None:
    """An interpreter of this version that everybody may execute, and its PYTHONPATH."""
    packages = os.pathsep.join([sysconfig.get_path("purelib"), str(_ROOT), str(_ROOT / "probes")])
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for candidate in (sys.executable, shutil.which(version, path="/usr/local/bin:/usr/bin")):
        if candidate is None:
            continue
        try:
            done = subprocess.run(
                [candidate, "-c", "import reactivate, trio, typer"],
                user=NOBODY, group=NOBODY, extra_groups=[], capture_output=True, check=False,
                env={"PYTHONPATH": packages, "PATH": os.defpath},
            )  # fmt: skip
        except OSError:
            continue
        if done.returncode == 0:
            return candidate, packages
    return None


def run_as_nobody(
    interpreter: tuple[str, str], folder: Path, arguments: Sequence[str]
) -> subprocess.CompletedProcess[str]:
    """`reactivate ARGUMENTS` in a mount namespace of its own; FOLDER is the user's home."""
    program, packages = interpreter
    device = folder / "fuse"
    device.unlink(missing_ok=True)
    return subprocess.run(
        ["unshare", "--mount", "--propagation", "private", "sh", "-c", _SCRIPT, "sh", str(device),
         program, "-m", "reactivate", *arguments],
        capture_output=True, text=True, timeout=120, check=False, cwd=folder,
        env={"PYTHONPATH": packages, "PATH": os.environ["PATH"], "HOME": str(folder)},
    )  # fmt: skip
