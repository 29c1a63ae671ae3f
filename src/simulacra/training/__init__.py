"""The contract of everything that is trained, its checkpoints, phases, teachers and students."""
