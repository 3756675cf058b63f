"""What every room uses: errors, files, progress, the command line, lazily loaded names."""
