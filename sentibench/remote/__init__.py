"""Models behind a server: the requests, the exchange with the server, the store of answers."""
