"""Odd models, as people come with them: made here of random weights, with one oddity each."""
