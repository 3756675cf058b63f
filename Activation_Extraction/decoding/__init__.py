"""Decoding processes that turn images into batches of pixels ahead of the network."""
