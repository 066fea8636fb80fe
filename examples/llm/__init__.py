"""Real language models as a pool: fetched by pinned packages, served on the CPU, profiled and compared."""
