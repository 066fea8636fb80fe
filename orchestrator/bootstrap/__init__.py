"""Bootstrap: settings in, wired objects out; the one place that names concrete classes."""
