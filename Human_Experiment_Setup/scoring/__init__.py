"""Scoring of typed words against the concepts of a study, and the reliability of the scored answers."""
