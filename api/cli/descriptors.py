"""File descriptors: a server that runs out of them cannot even refuse, so it asks for enough at start."""

import resource

from orchestrator.errors import ConfigError

SPARE = 64
"""For databases, brokers, logs and libraries."""


def secure_descriptors(n_requests: int) -> int:
    """Raise this process's limit as far as it may be; returns the limit.

    Args:
        n_requests: answered at the same time; one descriptor each, and as many for idle clients.

    Raises:
        ConfigError: even the highest limit is too low.
    """
    needed = 2 * n_requests + SPARE
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard or hard == resource.RLIM_INFINITY:
        soft = max(soft, needed) if hard == resource.RLIM_INFINITY else hard
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if soft < needed:
        raise ConfigError(
            f"this process may open {soft} files; {n_requests} requests at a time need {needed}.",
            param="muster.server.max_in_flight",
            remedy=f"Raise the limit (ulimit -n {needed}), or lower muster.server.max_in_flight.",
        )
    return soft
