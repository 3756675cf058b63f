"""The command `interpscore microscope`: a file for each of its commands."""
