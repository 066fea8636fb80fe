"""Engines that are servers: a command starts them, and they speak OpenAI's API."""
