"""Compositions: how experts become one answer, as pure resumable steps, and the catalogue of them."""
