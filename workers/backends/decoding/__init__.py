"""Batched decoding with transformers models. The modules import torch: import them only to load an engine."""
