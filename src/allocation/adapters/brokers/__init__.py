"""Where events go that other programs listen to."""
