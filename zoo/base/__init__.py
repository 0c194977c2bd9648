"""What every other package stands on: errors, files that are whole or absent, text fit for a terminal, signals."""
