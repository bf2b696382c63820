"""Tables of measurements, intervals, looks and verdicts: numbers in, numbers out."""
