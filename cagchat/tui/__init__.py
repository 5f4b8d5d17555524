"""The terminal app: it renders the core's events and holds no logic of its own. Only this package imports textual."""
