"""Commands, options and their help."""
