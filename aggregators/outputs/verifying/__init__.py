"""Appearance of a response: what its text shows (`texts`, `signs`), and what that is worth (`model`)."""
