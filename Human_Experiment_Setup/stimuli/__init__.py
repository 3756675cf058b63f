"""Stimuli of a study: clean pictures and their perturbed, attacked and rendered versions, measured on the saved files."""
