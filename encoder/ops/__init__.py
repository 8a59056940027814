"""The vocabulary of the forward pass: what a backend offers."""
