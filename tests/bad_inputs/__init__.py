"""Bad inputs by number: of requests (1 to 36), of files of lines (37 to 57), of configurations (58 to 71)."""
