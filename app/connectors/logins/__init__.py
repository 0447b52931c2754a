"""Log-in platforms: who stands behind a one-time code of a mini-program."""
