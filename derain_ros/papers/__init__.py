"""The papers' tables: the printed rows beside ours, one command each."""
