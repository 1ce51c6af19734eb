"""The talk's load, thrown at every rung of the ladder, and what came of it."""
