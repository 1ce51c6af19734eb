"""What the recorder, inside Locust, and the runs, outside, tell each other."""

# Profiles of the example's plan that every visit asks for one of: with the home page, what is always in the cache.
HOT = 50
MEASURING = "The measurement begins."
# Followed by what was met with since the line before, in JSON.
SINCE = "Since then: "
