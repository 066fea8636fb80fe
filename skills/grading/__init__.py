"""Graders: read, compare and grade answers, one module per answer type (`grader.GRADERS`); the sandbox."""
