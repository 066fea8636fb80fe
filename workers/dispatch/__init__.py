"""Dispatch: who gets submitted jobs done, here or in the stack."""
