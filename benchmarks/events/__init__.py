"""What an event costs: the same stream for each consumer, CPU time and memory of its whole process."""
