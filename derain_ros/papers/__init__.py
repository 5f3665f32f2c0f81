"""The papers' tables, as printed and beside them ours, one command each."""
