"""Views: domain values to wire types, one module a resource."""
