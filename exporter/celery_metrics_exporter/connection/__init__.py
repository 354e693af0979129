"""From a configuration or an application to something that connects to the broker."""
