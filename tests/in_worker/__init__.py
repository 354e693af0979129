"""Tests of the room in_worker."""
