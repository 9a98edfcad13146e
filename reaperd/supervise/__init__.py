"""Services in motion: events to decisions to effects."""
