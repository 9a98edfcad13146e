"""What holds for every test."""

from hypothesis import settings

# No deadline: how long an example takes says more about the machine than about us. No database: the
# checkout may belong to another user.
settings.register_profile("ours", deadline=None, database=None, print_blob=True)
settings.load_profile("ours")
