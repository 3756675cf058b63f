"""Ground truth that the metrics must pass: simulated studies and edited networks."""
