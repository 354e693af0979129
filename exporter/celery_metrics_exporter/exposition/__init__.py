"""From families to the bytes of a scrape: rows and encoders."""
