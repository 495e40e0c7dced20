"""A model behind the protocols of today's clients: HTTP, websockets, and pages to talk to."""
