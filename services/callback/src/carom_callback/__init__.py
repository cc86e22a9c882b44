"""Message in, signed webhook out: delivers the final result of a job to its callback URL."""
