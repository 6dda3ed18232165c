"""Loads libvexmodel.so and holds it to what it says about itself."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from pathlib import Path

ABI = 1

COMPONENTS = (
    "vector_storage",
    "search_engine",
    "metadata_manager",
    "cache_manager",
    "transaction_manager",
)
"""Every component there is, in the order in which they are started."""


class ConfigurationFault(Exception):
    """The command line, the configuration or the library cannot be used as asked."""


class Library:
    """The loaded library.

    Attributes:
        path: the file that was loaded.
        components: the components compiled in.
        functions: the ctypes object; each component's glue declares its own argument types.
    """

    def __init__(self, path: Path) -> None:
        """Load the library and check that its list and its symbols say the same.

        Raises:
            ConfigurationFault: no such file, not our library, or list and symbols disagree.
        """
        self.path = path
        try:
            # PyDLL: with one thread there is nobody to give the interpreter's lock to.
            self.functions: ctypes.CDLL = ctypes.PyDLL(str(path.resolve(strict=True)))
            self.functions.vexmodel_components.restype = ctypes.c_char_p
            listed = self.functions.vexmodel_components().decode()
            abi = self.functions.vexmodel_abi()
        except (OSError, AttributeError) as error:
            raise ConfigurationFault(f"cannot load {path}: {error}") from error
        if abi != ABI:
            raise ConfigurationFault(f"{path} has interface {abi}, this program needs {ABI}")
        self.components = tuple(listed.split())
        for name in COMPONENTS:
            if (name in self.components) != hasattr(self.functions, f"{name}_create"):
                raise ConfigurationFault(
                    f"{path} lists the components '{listed}', "
                    f"but its symbols say otherwise about {name}"
                )

    def require(self, asked: Sequence[str]) -> None:
        """Refuse unless exactly the asked components are compiled in.

        Raises:
            ConfigurationFault: names every component that is asked for and not there, not known,
                or there and not asked for.
        """
        for name in asked:
            if name not in COMPONENTS:
                known = ", ".join(COMPONENTS)
                raise ConfigurationFault(f"unknown component '{name}'; known: {known}")
        absent = [name for name in asked if name not in self.components]
        if absent:
            raise ConfigurationFault(f"not compiled into {self.path}: {', '.join(absent)}")
        extra = [name for name in self.components if name not in asked]
        if extra:
            raise ConfigurationFault(
                f"compiled into {self.path} but not asked for with --component: {', '.join(extra)}"
            )


def check(result: int) -> int:
    """Turn a negative errno of the C side into OSError; pass everything else on."""
    if result < 0:
        raise OSError(-result, "")
    return result
