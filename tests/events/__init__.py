"""Decoding, dispatch and the state of the stream."""
