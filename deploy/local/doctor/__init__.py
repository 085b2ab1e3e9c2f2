"""`rarebit doctor`: whether the service could work with this environment, and what to do where it could not."""
