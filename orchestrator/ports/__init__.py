"""Ports: what the kernel needs from the outside, as protocols by reader. Plug-ins implement them."""
