"""Many Avro files read as one table, or written."""
