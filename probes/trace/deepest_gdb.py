"""Catches a process at the deepest point of its stack and writes down the whole call chain.

Runs inside gdb, attached to the process:

    gdb -nx -batch -iex "set auto-solib-add off" -p PID -x deepest_gdb.py

Environment:
    REACTIVATE_ADDRESSES  hexadecimal addresses, deepest first, at most four (debug registers)
    REACTIVATE_OUTPUT     file for the JSON result
    REACTIVATE_MARKER     file that is created when the watchpoints are set
    REACTIVATE_FRAMES     most frames to unwind

The watchpoints fire on any access, so that writing the same value again counts. They are hit from
the shallow to the deep; each hit ends its watchpoint and replaces the chain of a shallower one.
When the deepest is hit, or the process gets SIGWINCH (the operation is over), the result is
written and the process is left running, without watchpoints.

Every frame is given with its stack pointer, so that the bytes of a frame are the distance to the
next one. Frames inlined into another have the same stack pointer and take no bytes of their own.
"""

import json
import os
from pathlib import Path

import gdb


def settings():
    """Nothing is asked, paged, downloaded or passed on that was not meant for the process."""
    for line in (
        "set pagination off",
        "set confirm off",
        "set debuginfod enabled off",
        "set print symbol-loading off",
        "set print thread-events off",
        "set print inferior-events off",
        "set can-use-hw-watchpoints 1",
        "set backtrace past-main on",
        "handle all nostop noprint pass",
        "handle SIGTRAP stop print nopass",
        # Tells gdb that the operation is over; the process must not get it.
        "handle SIGWINCH stop print nopass",
    ):
        gdb.execute(line, to_string=True)


def hardware_watchpoint(address):
    """A watchpoint on one byte; raises gdb.error where the processor has none to give."""
    watchpoint = gdb.Breakpoint(
        f"*(unsigned char *){address:#x}", gdb.BP_WATCHPOINT, gdb.WP_ACCESS, True
    )
    if watchpoint.type not in (gdb.BP_HARDWARE_WATCHPOINT, gdb.BP_ACCESS_WATCHPOINT):
        watchpoint.delete()
        raise gdb.error("no hardware watchpoint is available")
    watchpoint.silent = True
    return watchpoint


def unwind(most_frames):
    """The selected thread's frames, innermost first, and why unwinding ended."""
    frames = []
    frame = gdb.newest_frame()
    while frame is not None and len(frames) < most_frames:
        place = frame.find_sal()
        file = place.symtab.filename if place.symtab is not None else ""
        frames.append(
            {
                "function": frame.name() or "",
                "file": file,
                "line": place.line if file else 0,
                "pc": frame.pc(),
                "sp": int(frame.read_register("sp")) & 0xFFFFFFFFFFFFFFFF,
                "inlined": frame.type() == gdb.INLINE_FRAME,
            }
        )
        last = frame
        frame = frame.older()
    if frame is not None:
        return frames, f"stopped after {most_frames} frames"
    reason = last.unwind_stop_reason()
    if reason == gdb.FRAME_UNWIND_NO_REASON or reason == gdb.FRAME_UNWIND_OUTERMOST:
        return frames, ""
    return frames, gdb.frame_stop_reason_string(reason)


def chain_at(address, most_frames):
    """The call chain of the thread that touched `address`."""
    gdb.execute("sharedlibrary", to_string=True)
    frames, stopped = unwind(most_frames)
    return {
        "address": address,
        "tid": gdb.selected_thread().ptid[1],
        "frames": frames,
        "stopped": stopped,
    }


def catch(addresses, most_frames, marker):
    """Wait for the watchpoints; the chain of the deepest that was hit, None without a hit."""
    watchpoints = {hardware_watchpoint(address).number: address for address in addresses}
    hits = []
    gdb.events.stop.connect(
        lambda event: hits.extend(b.number for b in getattr(event, "breakpoints", ()))
    )
    # The file appears when the process is about to run under the watchpoints: whoever drives
    # it waits for a request to be read, which the stopped process cannot do.
    Path(marker).write_text("armed\n", encoding="ascii")
    chain = None
    while True:
        hits.clear()
        gdb.execute("continue", to_string=True)
        if not gdb.selected_inferior().pid:
            raise gdb.error("the process ended before its deepest point was reached")
        reached = [watchpoints[number] for number in hits if number in watchpoints]
        if not reached:
            return chain
        deepest = min(reached)
        chain = chain_at(deepest, most_frames)
        if deepest == addresses[0]:
            return chain
        for watchpoint in gdb.breakpoints():
            if watchpoints.get(watchpoint.number, 0) >= deepest:
                watchpoint.delete()


def main():
    """Run once; whatever happens, leave the process running and a result behind."""
    addresses = [int(text, 16) for text in os.environ["REACTIVATE_ADDRESSES"].split()]
    most_frames = int(os.environ["REACTIVATE_FRAMES"])
    result = {"chain": None, "error": ""}
    try:
        settings()
        if not gdb.selected_inferior().pid:
            raise gdb.error("gdb could not attach to the process")
        result["chain"] = catch(addresses, most_frames, os.environ["REACTIVATE_MARKER"])
    except gdb.error as error:
        result["error"] = str(error)
    finally:
        try:
            gdb.execute("delete", to_string=True)
            if gdb.selected_inferior().pid:
                gdb.execute("detach", to_string=True)
        except gdb.error as error:
            result["error"] = result["error"] or str(error)
        partial = Path(os.environ["REACTIVATE_OUTPUT"] + ".partial")
        partial.write_text(json.dumps(result), encoding="utf-8")
        partial.replace(os.environ["REACTIVATE_OUTPUT"])


main()
