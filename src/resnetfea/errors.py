"""The one exception that stands for something a user can put right."""


class ResnetFeaError(Exception):
    """What was wrong, in which file, and what to do. The command line prints it as it is and exits with 1."""
