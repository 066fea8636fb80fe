"""Server-sent events: what all streams share."""

PING_S = 15.0
"""How long a stream may say nothing."""
PING = ": ping\n\n"
MEDIA_TYPE = "text/event-stream"
HEADERS = {"cache-control": "no-cache", "x-accel-buffering": "no"}
