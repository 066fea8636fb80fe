"""Extensions of Muster, one a file: rows of its tables by the entry points in pyproject.toml."""
