"""Fault injection against the real stack: `python -m tests.faults` (see `__main__`)."""
