"""What several processes share a job by: bells, news, steps, sweeps, the canary."""
