"""The report of a scoring run: one page without a network, with ranking, cards, methods, limits and how to make it again."""
