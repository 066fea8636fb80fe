"""Evaluation: which way of answering pays, live (bench) and on recorded answers (replay)."""
