"""Schemas: the wire types of the REST API, one module a resource."""
