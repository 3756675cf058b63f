"""Tables in CSV, Excel and Parquet files: read as they were meant where one reading is possible, else refused."""
