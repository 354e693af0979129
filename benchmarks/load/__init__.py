"""The exporter under load on one core: the rate of events that it sustains over Redis, and how soon it is scraped."""
