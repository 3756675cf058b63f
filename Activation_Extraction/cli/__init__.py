"""The commands `interpscore models` and `interpscore extract`."""
