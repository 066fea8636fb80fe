"""Backends: one per kind of engine, one row each in `registry`. Heavy libraries load with the engine."""
