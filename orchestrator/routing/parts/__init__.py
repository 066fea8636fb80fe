"""Parts of routers: what several of them share."""
