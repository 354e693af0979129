"""Collectors: real bodies in, exposition text out."""
