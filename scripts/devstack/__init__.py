"""The developer's stack: private servers and the three services, for `make run`, tests and benches."""
