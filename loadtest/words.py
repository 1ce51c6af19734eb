"""What the recorder, inside Locust, and the runs, outside, tell each other."""

MEASURING = "The measurement begins."
