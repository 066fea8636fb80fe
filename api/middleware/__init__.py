"""Middleware, and other checks that requests pass before their route: bodies, JSON, query parameters, ids."""
