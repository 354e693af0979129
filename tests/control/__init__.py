"""Tests of remote control without a broker."""
