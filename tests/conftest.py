"""Settings of the whole suite."""

from hypothesis import HealthCheck, settings

# A busy machine is slow, not wrong: timings belong to the benchmarks.
settings.register_profile("muster", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("muster")
