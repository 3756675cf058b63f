"""clip-mini: a real, trained, tiny CLIP, its picture world, its training script and its model card."""
