"""Engines in vLLM, on CUDA or the CPU, in a child process of their own."""
