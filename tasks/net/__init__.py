"""The one way to the outside: the agent's name, addresses, the rules of the line, polite fetching, downloads that resume."""
