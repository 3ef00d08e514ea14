"""Files of lots and of order lines, as people have them: read, numbered, imported and handed back."""
