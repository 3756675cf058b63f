"""The commands `interpscore score`, `table`, `top`, `causality`, `sanity` and `data`."""
