"""The model in step with the real processes: what is read, what is heard, and how both become one."""
