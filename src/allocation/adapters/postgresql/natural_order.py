"""Texts with numbers in them, in the order in which people count: 2 before 10, L2 before L10."""

# Numbers of up to so many digits are compared as numbers.
_DIGITS = 20
_ZEROS = "0" * _DIGITS


def natural(column: str) -> str:
    """An SQL expression to sort this text column by: its numbers are written with leading zeros.

    What is a number as a whole, as it mostly is, costs a tenth of the rest.
    """
    return rf"""
        CASE WHEN length({column}) <= {_DIGITS} AND ltrim({column}, '0123456789') = ''
             THEN lpad({column}, {_DIGITS}, '0')
             ELSE regexp_replace(
                 regexp_replace({column}, '[0-9]+', E'{_ZEROS}\\&', 'g'),
                 '0+([0-9]{{{_DIGITS}}})', E'\\1', 'g'
             )
        END COLLATE "C", {column} COLLATE "C"
    """
