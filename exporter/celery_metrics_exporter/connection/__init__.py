"""Make a broker to connect to from the configuration or the user's Celery application."""
