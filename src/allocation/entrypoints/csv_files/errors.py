"""Reasons why a file is not imported."""

from allocation.domain.errors import AllocationError


class ImportRefused(AllocationError):
    """The file can't be imported with these options; nothing was done."""


class FileUnreadable(AllocationError):
    """The file can't be read, or the files beside it can't be written."""
