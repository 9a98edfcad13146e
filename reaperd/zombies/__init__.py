"""Zombies anywhere on the machine: find, explain, clear."""
