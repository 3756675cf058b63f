"""What is known of units besides their activations: labels, scores, profiles, effects, renders, concepts, words."""
