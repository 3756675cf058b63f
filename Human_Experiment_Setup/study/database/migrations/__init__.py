"""Migrations: how a study's database came to its schema, step by step."""
