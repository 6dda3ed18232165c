"""Between pyfuse3 and the handlers: what may leave a handler, and in which form."""

from __future__ import annotations

import errno
import functools
import sys
import traceback
from collections.abc import Callable, Coroutine
from typing import Any, Concatenate, ParamSpec, TypeVar

from pyfuse3 import FUSEError

P = ParamSpec("P")
R = TypeVar("R")
S = TypeVar("S")


def handler(
    function: Callable[Concatenate[S, P], R],
) -> Callable[Concatenate[S, P], Coroutine[Any, Any, R]]:
    """Make a FUSE handler of a plain method: nothing but FUSEError may leave it.

    No handler waits for anything, so none of them needs to be a coroutine itself.
    """

    @functools.wraps(function)
    async def answer(self: S, /, *args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(self, *args, **kwargs)
        except FUSEError:
            raise
        except OSError as error:
            raise FUSEError(error.errno or errno.EIO) from None
        except MemoryError:
            raise FUSEError(errno.ENOMEM) from None
        except Exception:
            traceback.print_exc(file=sys.stderr)
            raise FUSEError(errno.EIO) from None

    return answer
