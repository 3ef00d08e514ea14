"""Files of lots and of order lines as people write them: reading, numbering, importing, handing back."""
