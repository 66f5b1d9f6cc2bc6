"""The one exception that stands for something a user can put right."""


class ResnetFeaError(Exception):
    """What was wrong, in which file, and what to do. The command line prints it as it is and exits with 1."""


def printable(text: str) -> str:
    """The text in one line that a terminal takes as text: names from files may hold line breaks and terminal codes."""
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)
