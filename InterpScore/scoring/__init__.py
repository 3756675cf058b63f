"""One scoring run: components for blocks of neurons, resampling, the ranked table."""
