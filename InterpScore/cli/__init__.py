"""The commands `interpscore score`, `table`, `causality` and `sanity`."""
