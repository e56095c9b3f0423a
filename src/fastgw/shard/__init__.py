"""One shard kept connected: face, driver, link, commands, budget, reconnect policy."""
