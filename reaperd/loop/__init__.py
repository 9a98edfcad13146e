"""One thread, one loop, no tick."""
