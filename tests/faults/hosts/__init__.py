"""Several hosts on one machine: network namespaces, each with processes, name and boot of its own."""
