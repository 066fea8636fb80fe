"""Views: domain values to wire types and back, one module a resource. Pages for people are elsewhere."""
