"""Entry points: the REST API (`main`, `routes`) and the command line (`cli`)."""
