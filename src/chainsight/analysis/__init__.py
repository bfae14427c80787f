"""What results say: differences with intervals, slices, votes, steps. Pure functions on records."""
