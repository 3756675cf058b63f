"""Tables as other programs write them: separators, marks, encodings, workbooks."""
