"""Names, ages and flow of queues."""
