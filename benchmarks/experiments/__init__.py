"""One module for each thing that is looked at; each experiment takes the bench and returns a finding."""
