"""What a user did wrong, in one sentence.

Commands print the message of a :class:`UserError` and exit with code 1; every other exception is a
bug and keeps its traceback.
"""

from __future__ import annotations


class UserError(ValueError):
    """Bad input that the user can mend; the message is one sentence with the value found and the
    remedy.
    """


class FormatError(UserError):
    """A file is not what its format promises; the message names file, key, what was found and what
    was expected.
    """


class IncompatibleError(UserError):
    """A model, a data set and a view do not fit together; the message says why and names what
    fits.
    """
