"""Two layers, checkpoints or networks on the same images: differences of their scores in the same resamples."""
