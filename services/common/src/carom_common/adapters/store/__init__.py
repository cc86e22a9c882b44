"""The state of jobs in Redis: what people ask about, and the fences against doing a step twice."""
