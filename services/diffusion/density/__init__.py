"""What images a prompt usually gives, and how rare another one is among them."""
