"""Kinds of trials: what a participant does, what the server accepts as an answer, and what an export makes of it."""
