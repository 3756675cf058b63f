"""What surrounds the scores: getting data, and seeing what a folder of data is good for."""
