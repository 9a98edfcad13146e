"""Speak systemd: notifications, as servers and services exchange them."""
