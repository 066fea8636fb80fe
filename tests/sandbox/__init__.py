"""Hostile programs against the code sandbox: `python -m tests.sandbox`."""
