"""Side-by-side benchmarks of this package and its peers against a synthetic S3 endpoint."""
