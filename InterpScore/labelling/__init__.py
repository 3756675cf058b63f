"""Which unit stands for which concept: labels chosen on some images and tested on others. METRICS.md, section 10."""
