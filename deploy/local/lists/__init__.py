"""What an operator sees of a service: its jobs, workers and density models."""
