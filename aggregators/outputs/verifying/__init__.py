"""How right a response looks: what its text shows (`texts`, `signs`), and what that is worth (`model`)."""
