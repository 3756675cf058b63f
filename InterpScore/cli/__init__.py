"""The commands `interpscore score`, `table`, `top`, `causality` and `sanity`."""
