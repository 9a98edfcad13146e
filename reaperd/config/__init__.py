"""What the user wrote, read into frozen specs."""
