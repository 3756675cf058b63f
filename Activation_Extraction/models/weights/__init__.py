"""Weights: known files and their hashes, downloads, the cache, safe loading."""
