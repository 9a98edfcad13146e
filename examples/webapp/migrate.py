"""Bring the database to the version that the application needs; harmless where it has it already."""

from database import ask

STEPS = (
    ("1", "set visits 0"),
    ("2", "set greeting Hello"),
)


def main() -> None:
    """Take every step above the database's version, in order."""
    version = int(ask("get version") or "0")
    for number, step in STEPS:
        if int(number) > version:
            ask(step)
            ask(f"set version {number}")
            print(f"migrated to version {number}")


if __name__ == "__main__":
    main()
