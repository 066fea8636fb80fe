"""Orchestration kernel and use cases: annotate, match, recruit, assign, batch, aggregate."""
