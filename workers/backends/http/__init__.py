"""Parts that backends of engines that run elsewhere share: limits, breaker, retry, reading of replies."""
