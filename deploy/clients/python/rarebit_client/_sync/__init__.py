"""The client for tasks, which the one for threads is made from: `make clients`."""
