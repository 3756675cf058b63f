"""Typed words compared with the words of a concept."""
