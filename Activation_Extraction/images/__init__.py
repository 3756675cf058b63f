"""Images from files, folders, tables, tars and datasets: listed, read, decoded, preprocessed."""
