"""Tables of a scoring run for papers, as LaTeX (booktabs) and CSV: the ranking, a summary, and the settings."""
