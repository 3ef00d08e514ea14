"""Reasons why a file is not imported."""


class ImportRefused(Exception):
    """The file can't be imported with these options; nothing was done."""


class FileUnreadable(Exception):
    """The file can't be read, or the files beside it can't be written."""
