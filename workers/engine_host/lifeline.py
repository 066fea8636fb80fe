"""A child that dies with its parent, however the parent ends and whatever the child is doing."""

import fcntl
import os
import select
import signal
import threading


def die_with(lifeline: int) -> None:
    """End this process when the other end of the pipe `lifeline` is closed.

    The kernel sends SIGKILL by itself where it can (Linux): a child that hangs inside a library is
    ended too. A thread watches as well, for systems without that. PR_SET_PDEATHSIG would not do: it
    follows the thread that started the child, not the process.
    """
    threading.Thread(target=_watch, args=(lifeline,), name="lifeline", daemon=True).start()
    if hasattr(fcntl, "F_SETSIG"):
        fcntl.fcntl(lifeline, fcntl.F_SETOWN, os.getpid())
        fcntl.fcntl(lifeline, fcntl.F_SETSIG, signal.SIGKILL)
        flags = fcntl.fcntl(lifeline, fcntl.F_GETFL)
        fcntl.fcntl(lifeline, fcntl.F_SETFL, flags | os.O_ASYNC)


def _watch(lifeline: int) -> None:
    poller = select.poll()
    poller.register(lifeline, select.POLLIN)
    poller.poll()
    os._exit(0)
