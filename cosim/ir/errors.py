"""Tell the user's mistakes from ours: two families of errors, each message a sentence."""


class UserError(Exception):
    """Report bad input: where, what, both sides, what to do next (exit status 2)."""


class InternalError(Exception):
    """Report a contract that our own code broke; never caused by input alone."""
