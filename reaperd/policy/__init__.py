"""What to do next: pure decisions over plain data."""
