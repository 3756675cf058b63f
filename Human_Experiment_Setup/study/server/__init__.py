"""The web server of a study: routes that translate between HTTP and the operations on the database."""
