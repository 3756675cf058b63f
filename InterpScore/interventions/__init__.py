"""Interventions on the units of a layer, and their effects on the embedding."""
