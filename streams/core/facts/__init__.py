"""Everything that is not a metric becomes one: changes and log lines as series. Pure."""
