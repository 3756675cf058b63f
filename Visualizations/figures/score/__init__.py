"""Figures of the score and of its components, all from the results and their draws; one a module, each with a `FIGURE`."""
