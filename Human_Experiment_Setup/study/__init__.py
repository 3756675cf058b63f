"""Studies: a protocol, who sees which picture, the database of answers, and the server that participants use."""
