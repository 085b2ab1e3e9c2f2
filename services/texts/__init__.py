"""What people write and read: concepts, characters that nobody sees, and what is wrong with a field in words."""
