"""A pool of tiny experts with real weights, and the questions that measure them."""
