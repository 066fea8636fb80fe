"""Frozen values and the pure rules about them; imports nothing but the standard library, pydantic, numpy."""
