"""The commands `interpscore figures` and `interpscore report`."""
