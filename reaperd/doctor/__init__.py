"""What this machine allows reaperd to do, found by trying it, and what is done instead where it does not."""
