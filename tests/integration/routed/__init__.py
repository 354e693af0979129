"""A project with queues of its own and routes of every kind; its tasks are imported only when a worker starts."""
