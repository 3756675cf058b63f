"""Showing a bundle: opening it, serving its files, and copying it into a site that needs no server of ours."""
