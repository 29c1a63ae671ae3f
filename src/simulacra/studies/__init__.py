"""Studies: chains of trainings with their closure and null tests."""
