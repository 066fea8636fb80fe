"""Runtime: threads and garbage collection of this process."""
