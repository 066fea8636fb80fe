"""Means by which several processes share a job: bells, news, steps, sweeps, the canary."""
