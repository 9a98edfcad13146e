"""Forking, the steps up to exec, and the handler that reaps."""
