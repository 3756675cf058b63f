"""The commands `interpscore score`, `table`, `top`, `label`, `causality`, `profile`, `compare`, `sanity` and `data`."""
