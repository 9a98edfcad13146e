"""What services write: read from pipes, made of whole lines, and put where it belongs."""
