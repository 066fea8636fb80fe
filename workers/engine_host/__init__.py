"""Engines in child processes: what breaks, hangs or leaks there ends there. See docs/decisions/0006."""
