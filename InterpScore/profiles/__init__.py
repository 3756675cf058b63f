"""What units do, without labels: scores of every unit of a layer from its activations and another network's embeddings. METRICS.md, section 9."""
