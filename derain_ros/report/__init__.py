"""Tables and pages of saved records."""
