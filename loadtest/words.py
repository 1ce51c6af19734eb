"""What the recorder, inside Locust, and the runs, outside, tell each other."""

MEASURING = "The measurement begins."
# Followed by what was met with since the line before, in JSON.
SINCE = "Since then: "
