"""System calls, each wrapped once: no policy, no state, no log."""
