"""How right a response looks from its text: what it shows (`texts`, `signs`), and what that is worth (`model`)."""
