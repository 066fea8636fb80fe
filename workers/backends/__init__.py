"""Engines: one module per kind, one row each in `registry`. Heavy libraries load with the engine."""
