"""What is optimised, and what it is drawn to and kept from."""
