"""What a generator is worth, in true events."""
