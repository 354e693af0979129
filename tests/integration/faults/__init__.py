"""The fault matrix: what happens to a running exporter when its broker, or the way there, fails."""
