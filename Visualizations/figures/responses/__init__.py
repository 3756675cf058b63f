"""Figures of activations, recognition and interventions: what the scores are computed from, image by image."""
