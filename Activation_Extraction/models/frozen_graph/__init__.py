"""TensorFlow's frozen graphs, read without TensorFlow and run in PyTorch under their own node names."""
