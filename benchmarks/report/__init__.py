"""What becomes of the findings: a table on the terminal, a JSON file, and a page with plots."""
