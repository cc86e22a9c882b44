"""HTTP in, message out: validates a job, publishes it with confirm, records it, answers."""
