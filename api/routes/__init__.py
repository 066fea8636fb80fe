"""Routes: one module a resource, mounted in `api.main`; its wire types in `schemas`, its views in `views`."""
