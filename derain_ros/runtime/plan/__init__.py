"""Chooses the stages that run on a frame set within the budget."""
