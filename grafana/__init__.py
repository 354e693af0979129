"""What people look at: dashboards and the Python source that makes them, alert rules, provisioning."""
