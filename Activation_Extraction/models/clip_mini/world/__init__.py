"""The picture world that clip-mini is trained on: nameable things, drawn in many ways, with captions."""
