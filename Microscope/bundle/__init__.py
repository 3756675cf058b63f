"""The bundle: the folder of files that the explorer shows, its format, how it is built, and how it is read."""
