"""Figures that put the scores beside something else: untrained networks, labels, checks, published scores, other layers."""
