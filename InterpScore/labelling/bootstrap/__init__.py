"""The bootstrap over images: intervals of labels and of their runners-up. METRICS.md, sections 8 and 10."""
