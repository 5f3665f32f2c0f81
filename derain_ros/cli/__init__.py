"""The `derain` command: one short file per sub-command, heavy imports inside."""
