"""Merges by Muster beside those by mergekit 0.1.5: `python -m tests.merging` (`make test-merge`)."""
