"""Pictures: heat maps and comparisons, drawn with matplotlib."""
