"""Write the options of reaperd-init(1) from the table that the program itself is driven by.

Run as a program it rewrites the manual page; a test fails where that would change it.
"""

from pathlib import Path

from reaperd import pid1

MANUAL = Path(__file__).resolve().parents[2] / "docs" / "man" / "reaperd-init.1"
BEGIN = ".\\\" options, written by tests/support/init_manual.py from the program's own table\n"
END = '.\\" end of the options\n'


def roff(text: str) -> str:
    """Escape what roff would take for its own."""
    return text.replace("\\", "\\e").replace("-", "\\-")


def options() -> str:
    """Return one entry for each option."""
    lines = []
    for short, long, value, mirror, what, _how in pid1.OPTIONS:
        names = " , ".join(f"\\fB{roff(name)}\\fR" for name in (short, long) if name).replace(" , ", ", ")
        if value.startswith("["):
            names += f"[=\\fI{value[1:-1]}\\fR]"
        elif value:
            names += f" \\fI{roff(value)}\\fR"
        lines += [".TP", names, roff(what[0].upper() + what[1:]) + "."]
        if mirror:
            lines += [".br", f"Environment: \\fB{pid1.MIRROR_PREFIX}{mirror}\\fR."]
    return "\n".join(lines) + "\n"


def renewed(page: str) -> str:
    """Return a manual page with its options written anew."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return before + BEGIN + options() + END + after


if __name__ == "__main__":
    MANUAL.write_text(renewed(MANUAL.read_text()))
