"""Tasks beside generators: modules that weigh or change events."""
