"""Tables of answers: from a study's database, or from a study that was run elsewhere."""
