"""Tests of what people read: links, commands, names."""
