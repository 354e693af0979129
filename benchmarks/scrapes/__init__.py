"""What a scrape costs: pages of several sizes, against prometheus_client's own encoders and server."""
