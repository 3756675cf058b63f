"""The database of a study: its schema, its connection and its migrations."""
