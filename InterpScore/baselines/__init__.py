"""What an untrained network gives: the same architecture on the same images, beside every score. METRICS.md, section 13."""
