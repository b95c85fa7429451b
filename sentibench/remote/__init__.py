"""Whoever answers from afar: the requests, the exchange with a server, the store of answers."""
