"""reaperd: a supervisor, container init and zombie hunter for Linux."""

__version__ = "0.1.0"
