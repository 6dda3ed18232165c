"""The command line: `python -m model MOUNTPOINT --library FILE [--component NAME]…`."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from model.library import COMPONENTS, ConfigurationFault, Library

USAGE_STATUS = 2


def make_parser() -> argparse.ArgumentParser:
    """The parser; importing this module needs neither pyfuse3 nor a library."""
    parser = argparse.ArgumentParser(
        prog="python -m model",
        description="A small filesystem whose components can be on or off, in the foreground.",
        epilog="It ends when it is unmounted (fusermount3 -u MOUNTPOINT) or gets SIGTERM.",
        allow_abbrev=False,
    )
    parser.add_argument("mountpoint", metavar="MOUNTPOINT", type=Path, help="an empty folder")
    parser.add_argument(
        "--library",
        metavar="FILE",
        type=Path,
        required=True,
        help="libvexmodel.so, built with exactly the components named here",
    )
    parser.add_argument("--config", metavar="FILE", type=Path, help="settings of the components")
    parser.add_argument(
        "--backing", metavar="FOLDER", type=Path, help="where transaction_manager keeps its journal"
    )
    parser.add_argument(
        "--component",
        metavar="NAME",
        action="append",
        default=[],
        help=f"switch a component on, may be repeated: {', '.join(COMPONENTS)}",
    )
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the filesystem; 0 after an orderly end, 2 when it cannot start as asked."""
    asked = make_parser().parse_args(arguments)
    try:
        library = Library(asked.library)
        library.require(asked.component)
        try:
            from model import daemon
        except ImportError as error:
            raise ConfigurationFault(f"{error}; install the extra `model`, with pyfuse3") from error
        from model.parts import Parts, read_settings

        daemon.check_mountpoint(asked.mountpoint)
        settings = read_settings(asked.config)
        parts = Parts(library, asked.component, settings, asked.backing, os.getuid(), os.getgid())
        try:
            daemon.serve(parts, asked.mountpoint)
        finally:
            parts.close()
    except ConfigurationFault as fault:
        print(f"model: {fault}", file=sys.stderr)
        return USAGE_STATUS
    return 0


if __name__ == "__main__":
    sys.exit(main())
