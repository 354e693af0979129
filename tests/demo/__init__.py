"""The demo, run as users run it, and its parts."""
