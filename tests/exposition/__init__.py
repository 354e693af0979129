"""Rows and encoders, held against prometheus_client's."""
