"""What is checked: a bundle, a machine with it, and an installation."""
