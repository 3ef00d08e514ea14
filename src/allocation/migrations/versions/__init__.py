"""One module for each revision; an applied one is never changed."""
