"""One module a table, or a few that belong together; each returns a `render.Table` and draws nothing."""
