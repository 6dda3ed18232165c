"""Vectors of `.vec` files: the Python side of the component vector_storage."""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Mapping
from pathlib import PurePosixPath

from model.extension import Extension, Settings
from model.library import ConfigurationFault, Library, check

DIMENSIONS_MAX = 4096

CONSTRUCTORS = {"heap": "vector_storage_create", "stack": "vector_storage_create_on_stack"}
"""The C function for each value of `initialisation`."""

Handle = ctypes.c_void_p


def is_vector_file(path: str) -> bool:
    """Whether a path is `NAME.vec`; a file called just `.vec` is a hidden file without suffix."""
    return PurePosixPath(path).suffix == ".vec"


def refuse_unknown(section: str, settings: Settings, known: tuple[str, ...]) -> None:
    """Refuse a section that holds a key which nobody reads.

    Raises:
        ConfigurationFault: names the key and the known ones.
    """
    for key in settings:
        if key not in known:
            listed = ", ".join(known)
            raise ConfigurationFault(f"[{section}] has no setting '{key}'; known: {listed}")


def whole_number(
    section: str, settings: Settings, key: str, default: int, lowest: int, highest: int
) -> int:
    """A whole number of a section, held to its range.

    Raises:
        ConfigurationFault: it is something else, or out of range.
    """
    value = settings.get(key, default)
    # A TOML boolean is a Python int, too.
    if isinstance(value, bool) or not isinstance(value, int) or not lowest <= value <= highest:
        raise ConfigurationFault(
            f"[{section}] {key} is {value!r}, expected a whole number from {lowest} to {highest}"
        )
    return value


def _initialisation(settings: Settings) -> str:
    value = settings.get("initialisation", "heap")
    if value not in CONSTRUCTORS:
        listed = " or ".join(f'"{name}"' for name in CONSTRUCTORS)
        raise ConfigurationFault(f"[vector_storage] initialisation is {value!r}, expected {listed}")
    return str(value)


class VectorStorage(Extension):
    """Stores the vectors of every `.vec` file, one vector per line.

    A text that is refused leaves the vectors that the file held before.

    Attributes:
        store: the C side's handle, for components that need this one.
        dimensions: numbers per vector.
    """

    name = "vector_storage"

    def __init__(
        self, library: Library, settings: Settings, peers: Mapping[str, Extension]
    ) -> None:
        """Start with an empty store.

        Raises:
            ConfigurationFault: a setting is unknown or out of range.
        """
        super().__init__(library, settings, peers)
        refuse_unknown(self.name, settings, ("dimensions", "initialisation"))
        self.dimensions = whole_number(self.name, settings, "dimensions", 128, 1, DIMENSIONS_MAX)
        self._c = library.functions
        declare(self._c)
        self.store = Handle()
        create = getattr(self._c, CONSTRUCTORS[_initialisation(settings)])
        check(create(self.dimensions, ctypes.byref(self.store)))

    def closed(self, path: str, content: bytes) -> bytes | None:
        """Take the file's lines as its vectors.

        Raises:
            OSError: EINVAL with the line at fault; ENOSPC, ENOMEM.
        """
        if is_vector_file(path):
            self._refuse(
                self._c.vector_storage_put(self.store, os.fsencode(path), content, len(content))
            )
        return None

    def removed(self, path: str) -> None:
        """Forget the file's vectors."""
        if is_vector_file(path):
            self._ignore_absent(self._c.vector_storage_remove(self.store, os.fsencode(path)))

    def renamed(self, old: str, new: str) -> None:
        """Keep the file's vectors under the new path."""
        if is_vector_file(old):
            self._ignore_absent(
                self._c.vector_storage_rename(self.store, os.fsencode(old), os.fsencode(new))
            )

    def stats(self) -> dict[str, str]:
        """How many vectors, of which size, and why the last text was refused, if one was."""
        lines = {
            "vectors": str(self._c.vector_storage_count(self.store)),
            "dimensions": str(self.dimensions),
        }
        if fault := self.fault():
            lines["vector_error"] = fault
        return lines

    def fault(self) -> str:
        """Why the last text was refused; empty when none ever was."""
        text: bytes = self._c.vector_storage_fault(self.store)
        return text.decode()

    def parse(self, text: bytes) -> ctypes.Array[ctypes.c_float]:
        """Read one vector by the rules of a `.vec` line.

        Raises:
            OSError: EINVAL with what is wrong.
        """
        vector = (ctypes.c_float * self.dimensions)()
        self._refuse(self._c.vector_storage_parse(self.store, text, len(text), vector))
        return vector

    def identify(self, number: int) -> bytes:
        """The public id of a stored vector, `NAME:line`, on one line whatever the name holds.

        Raises:
            OSError: ENOENT when there is no such vector.
        """
        path = ctypes.c_char_p()
        line = ctypes.c_uint32()
        check(
            self._c.vector_storage_locate(
                self.store, number, ctypes.byref(path), ctypes.byref(line)
            )
        )
        name = (path.value or b"").replace(b"\\", b"\\\\").replace(b"\n", b"\\n")
        return b"%b:%d" % (name, line.value)

    def close(self) -> None:
        """Give the memory back; called after those who follow the store are closed."""
        self._c.vector_storage_destroy(self.store)
        self.store = Handle()

    def _refuse(self, result: int) -> None:
        if result == -errno.EINVAL:
            raise OSError(errno.EINVAL, self.fault())
        check(result)

    @staticmethod
    def _ignore_absent(result: int) -> None:
        """A file whose text was refused from the start is there and holds no vectors."""
        if result != -errno.ENOENT:
            check(result)


def declare(functions: ctypes.CDLL) -> None:
    """Tell ctypes what vexmodel.h says about the vector_storage functions."""
    text, size = ctypes.c_char_p, ctypes.c_size_t
    number, numbers = ctypes.c_uint32, ctypes.POINTER(ctypes.c_float)
    signatures: dict[str, tuple[object, tuple[object, ...]]] = {
        "create": (ctypes.c_int, (number, ctypes.POINTER(Handle))),
        "create_on_stack": (ctypes.c_int, (number, ctypes.POINTER(Handle))),
        "destroy": (None, (Handle,)),
        "put": (ctypes.c_int64, (Handle, text, text, size)),
        "remove": (ctypes.c_int, (Handle, text)),
        "rename": (ctypes.c_int, (Handle, text, text)),
        "fault": (text, (Handle,)),
        "parse": (ctypes.c_int, (Handle, text, size, numbers)),
        "count": (number, (Handle,)),
        "locate": (ctypes.c_int, (Handle, number, ctypes.POINTER(text), ctypes.POINTER(number))),
        "find": (ctypes.c_int64, (Handle, text, number)),
        "get": (ctypes.c_int, (Handle, number, numbers)),
    }
    for name, (result, arguments) in signatures.items():
        function = getattr(functions, f"vector_storage_{name}")
        function.restype = result
        function.argtypes = arguments
