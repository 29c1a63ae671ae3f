"""Templates of background in a region where it is not measured, from other regions."""
