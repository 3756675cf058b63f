"""Prolific's export of submissions, and what it means for a study."""
