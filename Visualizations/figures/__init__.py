"""The figures, one a module; each holds its drawing function and a `FIGURE`."""
