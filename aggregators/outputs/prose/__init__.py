"""Answers to open questions: what their texts show (`signs`), which of several is chosen (`ranker`), and the
rule that asks for them (`rule`)."""
