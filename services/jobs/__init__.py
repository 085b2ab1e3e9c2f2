"""The job model: what is asked for, its record in Redis, and all that may happen to it."""
