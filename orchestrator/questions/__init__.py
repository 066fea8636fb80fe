"""Questions: files and conversations to queries."""
