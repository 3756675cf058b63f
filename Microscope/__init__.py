"""Microscope: an explorer of what every unit of a network sees, in a browser, from a folder of files.

Importing this package loads nothing heavy.
"""
