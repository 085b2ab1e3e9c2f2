"""The documents that clients are given, and the URLs in them."""
