"""The processes of `serve`, and who looks after them."""
