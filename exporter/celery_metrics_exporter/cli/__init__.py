"""The command line: commands, options, how a process starts and ends, and Celery's plugin."""
