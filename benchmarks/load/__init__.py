"""The exporter under load on one core: what it stands over Redis, and how soon it answers a scrape meanwhile."""
