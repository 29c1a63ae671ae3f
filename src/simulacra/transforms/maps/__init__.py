"""Maps with exact inverses, of which transforms are made."""
