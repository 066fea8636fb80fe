"""Leases: who holds work, what the dead held, and the steps of queries."""
