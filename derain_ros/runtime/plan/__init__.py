"""Which stages are run on a frame set, within the budget."""
