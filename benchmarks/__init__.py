"""What a consumer of Celery's event stream costs, measured against real peers on real brokers; see ``__main__``."""
