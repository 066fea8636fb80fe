"""Dashboard: pages for people, rendered on the server; only what is live on them needs JavaScript."""
