"""The HTML report about networks: what it shows, its curves, its page."""
