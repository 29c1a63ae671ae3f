"""Commands: thin layers over functions that can be imported."""
