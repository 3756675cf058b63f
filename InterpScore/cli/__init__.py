"""The commands `interpscore score`, `causality` and `sanity`."""
