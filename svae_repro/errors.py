"""The one exception that is meant for the reader of the screen."""


class UserError(ValueError):
    """Bad input; its message is the one line the user sees.

    The command line prints it alone and exits with code 2. It is a `ValueError`, so a notebook may catch it as one.
    """
