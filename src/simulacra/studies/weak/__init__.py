"""Learning from mixtures of known fractions, with no label of any event."""
