"""The tests that depend on servers, against the servers of several Debian suites."""
