"""The one exception that stands for a mistake in what the user gave us."""


class InputError(ValueError):
    """A wrong file, key or value. The message names it and says what would be right; the command line exits with code 2."""

    told = False  # whether another part of the program, or of several processes, has printed it
