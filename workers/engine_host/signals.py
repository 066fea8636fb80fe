"""Names of signals, for what is said of processes that they ended."""

import signal


def named(number: int) -> str:
    """` (SIGSEGV)`; real-time signals are named by their distance from the first, others not at all.

    Args:
        number: the signal's, from 1.
    """
    if signal.SIGRTMIN <= number <= signal.SIGRTMAX:
        return f" (SIGRTMIN+{number - signal.SIGRTMIN})"
    try:
        return f" ({signal.Signals(number).name})"
    except ValueError:
        return ""
