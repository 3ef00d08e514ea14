"""Why a file is not imported."""


class ImportRefused(Exception):
    """The file can't be imported as it was asked for; nothing was done."""


class FileUnreadable(Exception):
    """The file, or the place beside it, can't be read or written."""
