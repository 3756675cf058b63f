"""Simulated participants, who take a study over HTTP as people do; whatever they leave says that it is simulated."""
