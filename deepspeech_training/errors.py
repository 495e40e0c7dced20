"""The one exception that a person can fix; anything else that is raised is a bug of this package."""

EXIT_OK = 0
EXIT_RUN = 1
EXIT_FLAGS = 2


class UserError(Exception):
    """Something that the person at the keyboard can fix: bad data, a bad file, a full disk.

    The message says what, where (file and row), what was found and how to fix it; it may have several lines.
    `cli.main` prints it without a traceback and exits with `exit_code`.
    """

    exit_code = EXIT_RUN


class OutOfMemory(UserError):
    """A step needs more memory than the device has."""


class FlagError(UserError):
    """A flag or its value is wrong; found before any work starts."""

    exit_code = EXIT_FLAGS
