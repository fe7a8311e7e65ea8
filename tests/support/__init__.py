"""S3 servers and fault injection for the tests."""
