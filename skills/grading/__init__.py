"""Reads, compares and grades answers: one module per answer type, one table (`grader.GRADERS`)."""
