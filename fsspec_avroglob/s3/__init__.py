"""Talking to S3: configuration, requests, retries, failures and answers."""
