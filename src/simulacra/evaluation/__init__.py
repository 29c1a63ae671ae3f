"""Judging files, checkpoints and runs, and timing them; needs no command line."""
