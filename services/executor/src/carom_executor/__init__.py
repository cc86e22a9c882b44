"""Message in, HTTP call, message out: makes the attempts of a job until it succeeds or its retries are spent."""
