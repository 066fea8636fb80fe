"""Services: the use cases; the only door of entry points."""
