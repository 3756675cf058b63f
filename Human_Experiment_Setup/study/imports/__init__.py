"""Answers of a study that was run elsewhere, as the table that a study's own export makes."""
