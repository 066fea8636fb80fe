"""Settings of the whole suite."""

import os

from hypothesis import HealthCheck, settings

# A busy machine is slow, not wrong: timings belong to the benchmarks.
settings.register_profile("muster", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("muster")

# Before torch is imported, here and in the processes that tests start: models of tests are so small that
# threads cost more by waiting for each other than they bring.
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")
