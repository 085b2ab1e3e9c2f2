"""What operators of a service see and do: jobs, workers and density models, keys and limits, quarantine, restores."""
