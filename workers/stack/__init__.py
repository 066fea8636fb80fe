"""Means by which several processes share a job: bells, news, steps, the beat, the canary."""
