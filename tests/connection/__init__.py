"""What an application brings along."""
