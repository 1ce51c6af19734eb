"""Drills: each breaks one thing of a cluster under load, watches, heals, watches again, and checks the data."""
