"""Runtime: threads, garbage collection and atomic files of this process."""
