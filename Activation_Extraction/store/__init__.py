"""The activation store: written in shards, read by unit or by image, checked and repaired."""
